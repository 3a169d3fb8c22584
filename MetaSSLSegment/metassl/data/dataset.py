"""dataset.json: the classes and cases that a model is trained on; in one file because what is read, written and refused
are the same fields."""

import re
import reprlib
import unicodedata
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, replace
from itertools import chain, count
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..files import read_json, write_json
from ..validation import Fields, items, text, triple, whole

VERSION = 1
ROLES = ("labelled", "unlabelled", "hold-out", "ignored")
NOT_IN_NAMES = r"[\\/:*?\"<>|\x00-\x1f\ud800-\udfff]"
"""Pattern of a character that case ids, and so file names, must not have on some system."""
OF_WINDOWS = re.compile(r"(con|prn|aux|nul|conin\$|conout\$|com[1-9¹²³]|lpt[1-9¹²³]) *(\..*)?", re.IGNORECASE)
"""Names that are devices on Windows, whatever ending follows."""
OF_RESULTS = ("summary", "metrics")
"""Files that are written beside the results of the cases."""
LONGEST_ID = 200
"""Bytes of a case id as UTF-8; a system's limit is about 255 for id, ending and the mark of an unfinished file."""
IGNORE = 255
"""Label index of voxels that no loss and no metric counts: outside the volume, or marked so by the annotator."""
MOST_CLASSES = IGNORE - 1

INTENSITIES = ("auto", "ct", "other")
"""What the voxels of a channel are: to be found out, Hounsfield units, or numbers without a unit."""

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
    usable character is called "case"; a name of a Windows device gets a leading ``_``.

    Args:
        names: in order; the first of equal ones keeps its name.
        taken: names that are given already.
        longest: bytes of a name as UTF-8, its number included.
    """
    used = {_compared(name) for name in taken}
    unique = []
    for name in names:
        base = re.sub(f"{NOT_IN_NAMES}+", "_", unicodedata.normalize("NFC", name))
        base = _cut(base, longest).strip(". ") or "case"
        base = f"_{base}" if OF_WINDOWS.fullmatch(base) else base
        candidates = (_cut(base, longest - len(end)) + end for end in chain([""], (f"-{n}" for n in count(2))))
        unique.append(next(candidate for candidate in candidates if _compared(candidate) not in used))
        used.add(_compared(unique[-1]))
    return unique


def result_names(ids: Iterable[str]) -> list[str]:
    """What the results of cases are called: their ids, unless a file of all results has that name."""
    return unique_names(ids, taken=OF_RESULTS, longest=LONGEST_ID)


def _compared(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


def _cut(text: str, longest: int) -> str:
    """The text, cut to so many bytes as UTF-8."""
    return text.encode("utf-8", "replace")[:longest].decode("utf-8", "ignore")


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
        usable = self.id and not re.search(NOT_IN_NAMES, self.id) and self.id.strip(". ") == self.id
        if not usable or OF_WINDOWS.fullmatch(self.id) or _cut(self.id, LONGEST_ID) != self.id:
            raise InputError(
                f"The case id {self.id!r} cannot be a file name on every system.",
                f"Use letters, digits, spaces, dots, '-' and '_', at most {LONGEST_ID} bytes, and no name such as CON "
                "or NUL.",
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
        label_values: other values in label files -> value of the class that they mean, 0 for background.
        intensities: one of ``INTENSITIES`` per channel; empty for "auto".
    """

    name: str
    channels: tuple[str, ...]
    classes: tuple[SegmentClass, ...]
    cases: tuple[Case, ...]
    ignore_value: int | None = None
    label_values: dict[int, int] = field(default_factory=dict)
    intensities: tuple[str, ...] = ()

    def __post_init__(self):
        if not self.channels:
            raise InputError(f"Data set {self.name!r} has no image channel.")
        if not self.classes:
            raise InputError(f"Data set {self.name!r} has no class.", "At least one case needs a label file.")
        if self.intensities and (
            len(self.intensities) != len(self.channels) or not set(self.intensities) <= set(INTENSITIES)
        ):
            raise InputError(
                f"Data set {self.name!r} has the intensities {', '.join(map(str, self.intensities))}.",
                f"Give one of {', '.join(INTENSITIES)} for each of its {len(self.channels)} channel(s).",
            )
        if len(self.classes) > MOST_CLASSES:
            raise InputError(
                f"Data set {self.name!r} has {len(self.classes)} classes; a model can have at most {MOST_CLASSES}.",
                "Leave out classes, or join some of them.",
            )
        self._require_label_values()
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

    def _require_label_values(self) -> None:
        known = {0, *(c.value for c in self.classes), self.ignore_value} - {None}
        if twice := sorted(known & set(self.label_values)):
            raise InputError(
                f"label_values gives {twice[0]} another meaning, but it is a class, background or ignored.",
                "Change the value of the class instead.",
            )
        for value, meant in self.label_values.items():
            if meant not in known or isinstance(meant, bool) or not isinstance(value, int):
                raise InputError(
                    f"label_values says that {value!r} in label files means {meant!r}, which is no class value.",
                    f"Give the value of a class ({', '.join(str(c.value) for c in self.classes[:8])} ...), or 0 for "
                    "background.",
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
        if not self.intensities:
            del content["intensities"]
        if not self.label_values:
            del content["label_values"]
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
        make = f'Make one with: metassl prepare "{path}" --out NAME.json'
        if Path(path).is_dir():
            raise InputError(f"{path} is a folder and not a data set.", make)
        content = read_json(path)
        folder = Path(path).absolute().parent
        if not isinstance(content, dict) or "cases" not in content:
            raise InputError(f"{path} is not a MetaSSL data set.", make)
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
                intensities=fields.optional("intensities", items, text) or (),
                label_values=fields.optional("label_values", _label_values) or {},
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


def _label_values(content: Any, name: str) -> dict[int, int]:
    fields = Fields(content, name)
    try:
        return {int(key): fields.take(key, whole, 0, 255) for key in fields.content}
    except ValueError:
        raise InputError(f"{name} has a key that is no whole number.") from None
