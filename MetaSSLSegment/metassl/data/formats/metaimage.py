"""MetaImage files (.mha, .mhd): what their headers promise. MetaIO itself takes whatever a header says."""

import re
from pathlib import Path

import numpy as np

from ..rules import unreadable
from .stored import Stored
from .text_header import MOST_AXES, MOST_FILES, MOST_LINES, data_files, read_line, whole_numbers

NUMBERS = {
    "MET_CHAR": "i1", "MET_UCHAR": "u1", "MET_SHORT": "i2", "MET_USHORT": "u2", "MET_INT": "i4", "MET_UINT": "u4",
    "MET_LONG": "i4", "MET_ULONG": "u4", "MET_LONG_LONG": "i8", "MET_ULONG_LONG": "u8",
    "MET_FLOAT": "f4", "MET_DOUBLE": "f8",
}  # fmt: skip
MOST_CHANNELS = 10_000
"""Numbers per voxel."""
PER_AXIS = ("ElementSpacing", "ElementSize", "Offset", "Position", "Origin", "CenterOfRotation")
PER_PAIR = ("TransformMatrix", "Rotation", "Orientation")
NEEDED = ("NDims", "DimSize", "ElementType", "ElementDataFile")


class MetaImageFile:
    """The header of a MetaImage file.

    Raises:
        UnusableCase: it is none, or does not say what it must.
    """

    def __init__(self, path: Path | str):
        self.path = Path(path)
        self.fields: dict[str, str] = {}
        self.listed: list[str] = []
        with open(path, "rb") as file:
            for _ in range(MOST_LINES):
                line = read_line(file, self.path)
                if line is None:
                    break
                name, equals, value = (part.strip() for part in line.partition("="))
                if not self.fields and not (equals and re.fullmatch(r"\w+", name, re.ASCII)):
                    raise unreadable(path, "it does not begin like a MetaImage file.")
                if line.strip() and not (equals and name.isprintable() and "\ufffd" not in name):
                    raise unreadable(path, f"its header has a line that means nothing: {line[:60]!r}")
                if self.fields.setdefault(name, value) != value and name != "Comment":
                    raise unreadable(path, f"its header states {name} twice.")
                if name == "ElementDataFile":
                    break
            self.end = file.tell()
            if self.fields.get("ElementDataFile", "").startswith("LIST"):
                self.listed = file.read(2**20).decode("utf-8", "replace").split("\n")
        if missing := [name for name in NEEDED if name not in self.fields]:
            raise unreadable(path, f"its header does not state: {', '.join(missing)}.")
        self.axes = self._axes()

    def _axes(self) -> int:
        (axes,) = whole_numbers(self.path, "NDims", self.fields["NDims"], 1)
        if axes > MOST_AXES:
            raise unreadable(self.path, f"its header states {axes} axes.")
        for names, count in ((PER_AXIS, axes), (PER_PAIR, axes**2)):
            for name in names:
                if name in self.fields and not _are_numbers(self.fields[name], count):
                    raise unreadable(self.path, f"its header states {name} {self.fields[name][:60]!r} for {axes} axes.")
        return axes

    def stored(self) -> Stored:
        """How the voxels are stored."""
        fields = self.fields
        sizes = whole_numbers(self.path, "DimSize", fields["DimSize"], self.axes)
        (channels,) = whole_numbers(self.path, "ElementNumberOfChannels", fields.get("ElementNumberOfChannels", "1"), 1)
        kind = fields["ElementType"].removesuffix("_ARRAY")
        if kind not in NUMBERS or channels > MOST_CHANNELS:
            raise unreadable(
                self.path, f"its header states {channels} numbers of the type {fields['ElementType']!r} per voxel."
            )
        big = any(_is_true(fields.get(name)) for name in ("BinaryDataByteOrderMSB", "ElementByteOrderMSB"))
        (start,) = whole_numbers(self.path, "HeaderSize", fields.get("HeaderSize", "0"), 1, low=-1)
        files = self._files()
        packing = "zlib" if _is_true(fields.get("CompressedData")) else ""
        if not _is_true(fields.get("BinaryData", "True")):
            packing = "text"
        packed = None
        if packing == "zlib" and "CompressedDataSize" in fields:
            (packed,) = whole_numbers(self.path, "CompressedDataSize", fields["CompressedDataSize"], 1)
        if files == (self.path,):
            start = self.end
        shape = (*([channels] if channels > 1 else []), *sizes)
        return Stored(files, start, shape, np.dtype("<>"[big] + NUMBERS[kind]), packing, packed)

    def _files(self) -> tuple[Path, ...]:
        words = self.fields["ElementDataFile"].split()
        if not words:
            raise unreadable(self.path, "its header names no data file.")
        if words[0].lower() == "local":
            return (self.path,)
        if words[0] != "LIST":
            return data_files(self.path, words)
        listed = [line.strip() for line in self.listed if line.strip()]
        if not 1 <= len(listed) <= MOST_FILES or not all(name.isprintable() for name in listed):
            raise unreadable(self.path, f"its header lists {len(listed)} names of data files.")
        return tuple(self.path.parent / name for name in listed)

    def not_stated(self) -> list[str]:
        """What the header does not say about the grid."""
        stated = {
            "voxel spacing": ("ElementSpacing", "ElementSize"),
            "position": ("Offset", "Position", "Origin"),
            "directions": PER_PAIR,
        }
        return [what for what, names in stated.items() if not any(name in self.fields for name in names)]


def _is_true(text: str | None) -> bool:
    return (text or "").lower()[:1] in ("t", "1", "y")


def _are_numbers(text: str, count: int) -> bool:
    words = text.split()
    try:
        return len([float(word) for word in words]) == count
    except ValueError:
        return False
