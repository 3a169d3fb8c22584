"""NRRD files (.nrrd, .nhdr): what their headers promise."""

import re
from pathlib import Path

import numpy as np

from ..rules import UnusableCase, unreadable
from .stored import Stored
from .text_header import MOST_AXES, MOST_FILES, MOST_LINES, data_files, read_line, whole_numbers

NUMBERS = {
    "i1": ("signed char", "int8", "int8_t"),
    "u1": ("uchar", "unsigned char", "uint8", "uint8_t"),
    "i2": ("short", "short int", "signed short", "signed short int", "int16", "int16_t"),
    "u2": ("ushort", "unsigned short", "unsigned short int", "uint16", "uint16_t"),
    "i4": ("int", "signed int", "int32", "int32_t"),
    "u4": ("uint", "unsigned int", "uint32", "uint32_t"),
    "i8": ("longlong", "long long", "long long int", "signed long long", "signed long long int", "int64", "int64_t"),
    "u8": ("ulonglong", "unsigned long long", "unsigned long long int", "uint64", "uint64_t"),
    "f4": ("float",),
    "f8": ("double",),
}
TYPES = {word: name for name, words in NUMBERS.items() for word in words}
PACKINGS = {"raw": "", "gz": "gzip", "gzip": "gzip", "bz2": "other", "bzip2": "other"} | dict.fromkeys(
    ("txt", "text", "ascii", "hex"), "text"
)
FIELDS = {
    *(
        "content",
        "number",
        "type",
        "block size",
        "dimension",
        "space",
        "space dimension",
        "space units",
        "space origin",
    ),
    *("space directions", "measurement frame", "sizes", "spacings", "thicknesses", "axis mins", "axis maxs", "centers"),
    *("labels", "units", "kinds", "min", "max", "old min", "old max", "endian", "encoding", "line skip", "byte skip"),
    *("sample units", "data file"),
}
LONGEST_FIELD = 900
"""Bytes. What is longer and cannot be understood makes the library that ITK reads NRRD with crash."""
OTHER_NAMES = {name.replace(" ", ""): name for name in FIELDS} | {"centerings": "centers"}
VECTOR = re.compile(r"\(([^()]*)\)")
NEEDED = ("type", "dimension", "sizes", "encoding")


class NrrdFile:
    """The header of a NRRD file.

    Raises:
        UnusableCase: it is none, or does not say what it must.
    """

    def __init__(self, path: Path | str):
        self.path = Path(path)
        self.fields: dict[str, str] = {}
        self.listed: list[str] = []
        with open(path, "rb") as file:
            if not re.fullmatch(r"NRRD\d{4}", read_line(file, self.path) or ""):
                raise unreadable(path, "it does not begin like a NRRD file.")
            for _ in range(MOST_LINES):
                line = read_line(file, self.path)
                if not line:
                    break
                self._take(line)
            self.end = file.tell()
        if missing := [name for name in NEEDED if name not in self.fields]:
            raise unreadable(path, f"its header does not state: {', '.join(missing)}.")

    def _take(self, line: str) -> None:
        """A line: a field, a comment, a key with its value, or the name of a listed file."""
        if self.fields.get("data file", "").startswith("LIST"):
            self.listed.append(line)
            return
        name, colon, value = (part.strip() for part in line.partition(":"))
        if line.startswith("#") or (colon and value.startswith("=")):
            return
        name = OTHER_NAMES.get(name.lower(), name.lower())
        if name not in FIELDS or (len(line) > LONGEST_FIELD and name != "content"):
            raise unreadable(self.path, f"its header has a line that means nothing: {line[:60]!r}")
        if self.fields.setdefault(name, value) != value:
            raise unreadable(self.path, f"its header states {name!r} twice.")

    def stored(self) -> Stored:
        """How the voxels are stored."""
        fields = self.fields
        (axes,) = whole_numbers(self.path, "the dimension", fields["dimension"], 1)
        if axes > MOST_AXES:
            raise unreadable(self.path, f"its header states {axes} axes.")
        sizes = whole_numbers(self.path, "the sizes", fields["sizes"], axes)
        number, packing = TYPES.get(fields["type"].lower()), PACKINGS.get(fields["encoding"].lower())
        if number is None or packing is None:
            raise unreadable(
                self.path, f"its header states the type {fields['type']!r}, encoding {fields['encoding']!r}."
            )
        order = {"little": "<", "big": ">"}.get(fields.get("endian", "little").lower())
        if order is None:
            raise unreadable(self.path, f"its header states the byte order {fields['endian']!r}.")
        (lines,) = whole_numbers(self.path, "the line skip", fields.get("line skip", "0"), 1, low=0)
        (skipped,) = whole_numbers(self.path, "the byte skip", fields.get("byte skip", "0"), 1, low=-1)
        files = self._files()
        attached = files == (self.path,)
        start = self.end if attached else 0
        if packing == "gzip" and (lines or skipped < 0):
            packing = "other"  # only a reader of lines finds where the voxels begin
        if packing == "":
            start = -1 if lines or skipped < 0 else start + skipped
        lead = skipped if packing == "gzip" else 0
        return Stored(files, start, sizes, np.dtype(order + number), packing, lead=lead)

    def _files(self) -> tuple[Path, ...]:
        named = self.fields.get("data file")
        if named is None:
            return (self.path,)
        words = named.split()
        if not words:
            raise unreadable(self.path, "its header names no data file.")
        if words[0] != "LIST":
            return data_files(self.path, words)
        if not 1 <= len(self.listed) <= MOST_FILES:
            raise unreadable(self.path, f"its header lists {len(self.listed)} data files.")
        return tuple(self.path.parent / line.strip() for line in self.listed)

    def not_stated(self) -> list[str]:
        """What the header does not say about the grid.

        Raises:
            UnusableCase: it says it in a way that cannot be understood.
        """
        directions, origin = (self._vectors(name) for name in ("space directions", "space origin"))
        spacings = self.fields.get("spacings", "").lower().replace("nan", "").strip()
        stated = {"voxel spacing": directions or spacings, "position": origin, "directions": directions}
        return [name for name, value in stated.items() if not value]

    def _vectors(self, name: str) -> list[list[float]]:
        text = self.fields.get(name, "")
        try:
            vectors = [[float(word) for word in vector.split(",")] for vector in VECTOR.findall(text)]
        except ValueError:
            vectors = []
        left = VECTOR.sub("", text).replace("none", "").strip()
        if left or len({len(vector) for vector in vectors}) > 1 or not np.all(np.isfinite(vectors)):
            code = "origin" if name == "space origin" else "direction"
            raise UnusableCase(code, f"{self.path} has the impossible {name} {text[:60]!r}.")
        return vectors
