"""dataset.json: the classes and cases that a model is trained on."""

import re
import reprlib
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from itertools import chain, count
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..files import read_json, write_json
from ..validation import Fields, items, text, triple, whole

VERSION = 1
ROLES = ("labelled", "unlabelled", "hold-out", "ignored")
NOT_IN_NAMES = r"[\\/:*?\"<>|\x00-\x1f]"
"""Pattern of a character that case ids, and so file names, must not have on some system."""
IGNORE = 255
"""Label index of voxels that no loss and no metric counts: outside the volume, or marked so by the annotator."""

COLOURS = (
    (128, 174, 128),
    (241, 214, 145),
    (177, 122, 101),
    (111, 184, 210),
    (216, 101, 79),
    (221, 130, 101),
    (144, 238, 144),
    (192, 104, 88),
    (220, 245, 20),
    (78, 63, 0),
)
"""Default class colours (RGB, 0-255), repeated when there are more classes."""


def unique_names(names: Iterable[str], taken: Iterable[str] = (), longest: int = 100) -> list[str]:
    """Case ids, and so file names, from any texts: usable on every system, and no two equal whatever their capitals.

    Runs of characters that a file name cannot have become ``_``, equal names are numbered: a, a-2, a-3. What has no
    usable character is called "case".

    Args:
        names: in order; the first of equal ones keeps its name.
        taken: names that are given already.
        longest: characters of a name, its number included; a system's limit is about 250 bytes with all endings.
    """
    used = {name.casefold() for name in taken}
    unique = []
    for name in names:
        base = re.sub(f"{NOT_IN_NAMES}+", "_", name)[:longest].strip(". ") or "case"
        candidates = (base[: longest - len(end)] + end for end in chain([""], (f"-{n}" for n in count(2))))
        unique.append(next(candidate for candidate in candidates if candidate.casefold() not in used))
        used.add(unique[-1].casefold())
    return unique


@dataclass(frozen=True)
class SegmentClass:
    """One foreground class.

    Attributes:
        name: segment name, shown to the user.
        value: voxel value in label files and predictions, 1-255.
        colour: RGB, 0-255.
        terminology: Slicer's serialized terminology entry, or None.
    """

    name: str
    value: int
    colour: tuple[int, int, int]
    terminology: str | None = None

    def __post_init__(self):
        if not self.name or not isinstance(self.name, str):
            raise InputError("A class has no name.", "Give every class a name.")
        if not isinstance(self.value, int) or isinstance(self.value, bool) or not 1 <= self.value <= 255:
            raise InputError(f"Class {self.name!r} has the value {self.value!r}; it must be a whole number, 1 to 255.")
        colour = self.colour
        if len(colour) != 3 or not all(isinstance(c, int) and 0 <= c <= 255 for c in colour):
            raise InputError(f"Class {self.name!r} has the colour {colour!r}; it must be three numbers, 0 to 255.")


@dataclass(frozen=True)
class Case:
    """One patient or scan.

    Attributes:
        id: unique name, used for file names.
        images: one absolute path per channel (a file, or a folder with one DICOM series).
        label: absolute path of the annotation, or None.
        role: one of ``ROLES``.
    """

    id: str
    images: tuple[str, ...]
    label: str | None = None
    role: str = "unlabelled"

    def __post_init__(self):
        if not self.id or re.search(NOT_IN_NAMES, self.id) or self.id.strip(". ") != self.id:
            raise InputError(
                f"The case id {self.id!r} cannot be a file name.", "Use letters, digits, spaces, dots, '-' and '_'."
            )
        if self.role not in ROLES:
            raise InputError(f"Case {self.id}: unknown role {self.role!r}; use one of {', '.join(ROLES)}.")
        if self.role in ("labelled", "hold-out") and self.label is None:
            raise InputError(
                f"Case {self.id} is {self.role} but has no label file.", "Give it a label or make it unlabelled."
            )


@dataclass(frozen=True)
class Dataset:
    """Classes and cases of one segmentation problem.

    Attributes:
        name: shown to the user.
        channels: name of each image channel; a name that contains "CT" plans CT intensities.
        classes: foreground classes; class k of the network (0 is background) is ``classes[k - 1]``.
        cases: all cases, whatever their role.
        ignore_value: voxel value of labels that marks voxels to leave out of every loss and metric, or None.
    """

    name: str
    channels: tuple[str, ...]
    classes: tuple[SegmentClass, ...]
    cases: tuple[Case, ...]
    ignore_value: int | None = None

    def __post_init__(self):
        if not self.channels:
            raise InputError(f"Data set {self.name!r} has no image channel.")
        if not self.classes:
            raise InputError(f"Data set {self.name!r} has no class.", "At least one case needs a label file.")
        for what, values in (
            ("class value", [c.value for c in self.classes] + [self.ignore_value]),
            ("class name", [c.name for c in self.classes]),
            ("case id", [c.id.casefold() for c in self.cases]),
        ):
            twice = sorted({str(v) for v in values if values.count(v) > 1})
            if twice:
                raise InputError(f"The {what} {', '.join(twice)} occurs more than once.", f"Make each {what} unique.")
        for case in self.cases:
            if len(case.images) != len(self.channels):
                raise InputError(
                    f"Case {case.id} has {len(case.images)} image channel(s), expected {len(self.channels)} "
                    f"({', '.join(self.channels)}).",
                    "Add the missing channel or set the case's role to ignored.",
                )

    def with_role(self, *roles: str) -> tuple[Case, ...]:
        """The cases that have one of the roles, in order."""
        return tuple(case for case in self.cases if case.role in roles)

    def with_roles(self, roles: dict[str, str]) -> "Dataset":
        """A copy in which the named cases (id -> role) have new roles."""
        return replace(self, cases=tuple(replace(c, role=roles.get(c.id, c.role)) for c in self.cases))

    def save(self, path: Path | str) -> None:
        """Write dataset.json; files below its folder are stored relative to it, so that the folder can be moved."""
        folder = Path(path).absolute().parent

        def stored(file: str | None) -> str | None:
            if file is None:
                return None
            return Path(file).relative_to(folder).as_posix() if Path(file).is_relative_to(folder) else file

        content = {"version": VERSION, **asdict(self)}
        for case in content["cases"]:
            case["images"] = [stored(image) for image in case["images"]]
            case["label"] = stored(case["label"])
        write_json(path, content)

    @classmethod
    def load(cls, path: Path | str) -> "Dataset":
        """Read and validate dataset.json; relative paths count from its folder.

        Raises:
            InputError: not a dataset.json of this version, or its content contradicts itself.
        """
        content = read_json(path)
        folder = Path(path).absolute().parent
        if not isinstance(content, dict) or "cases" not in content:
            raise InputError(
                f"{path} is not a MetaSSL data set.", "Make one with: metassl prepare SOURCE --out dataset.json"
            )
        if content.get("version") != VERSION:
            raise InputError(
                f"{path} has version {reprlib.repr(content.get('version'))}; this MetaSSL reads version {VERSION}.",
                "Make it again with: metassl prepare SOURCE --out dataset.json",
            )
        fields = Fields(content, f"{path} is damaged:")
        try:
            return cls(
                name=fields.take("name", text),
                channels=fields.take("channels", items, text),
                classes=fields.take("classes", items, read_class),
                cases=fields.take("cases", items, _read_case, folder),
                ignore_value=fields.optional("ignore_value", whole, -(2**31), 2**31),
            )
        except InputError as error:
            named = str(error).startswith(str(path))
            raise error if named else InputError(f"{path}: {error}", error.hint) from error


def read_class(content: Any, name: str) -> SegmentClass:
    """A class as it was read from JSON; ``name`` is its place there.

    Raises:
        InputError: it is none.
    """
    fields = Fields(content, name)
    return SegmentClass(
        fields.take("name", text),
        fields.take("value", whole, 1, 255),
        fields.take("colour", triple, whole, 0, 255),
        fields.optional("terminology", text),
    )


def _read_case(content: Any, name: str, folder: Path) -> Case:
    fields = Fields(content, name)
    label = fields.optional("label", text)
    return Case(
        fields.take("id", text),
        tuple(str(folder / image) for image in fields.take("images", items, text)),
        None if label is None else str(folder / label),
        fields.take("role", text, ROLES),
    )
