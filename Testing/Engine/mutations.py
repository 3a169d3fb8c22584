"""Damaged copies of good volumes: what a broken disk, a broken program or a person with an editor makes of them.

Only damage that a reader can notice: a flipped bit of an unpacked voxel, or a spacing of 2 mm instead of 1, is none.
"""

import gzip
import os
import shutil
import struct
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from volumes import grey, label, segments, write, write_dicom

NOT_A_NUMBER = ("", "abc", "nan", "-1", "0", "1e400", "99999999999999999999", "1000000", "-2147483648", "1 2", "%n%s")
TUPLES = (
    "(nan,0,0) (0,1,0) (0,0,1)",
    "(0,0,0) (0,1,0) (0,0,1)",
    "(1e30,0,0) (0,1,0) (0,0,1)",
    "(1e-30,0,0) (0,1,0) (0,0,1)",
    "(1,0,0) (1,0,0) (0,0,1)",
    "(1,0.5,0) (0,1,0) (0,0,1)",
    "none none none",
    "(1,0) (0,1)",
    "abc",
    "",
)
FILES = ("", ".", "missing.raw", "%s%s%s%n", "%d", "v%03d.raw 0 2000000000 1", "LIST", "LIST -1", "/dev/zero", "..")
NRRD = {
    "type": ("", "abc", "block", "double"),
    "dimension": (*NOT_A_NUMBER, "2", "16", "17"),
    "sizes": (*NOT_A_NUMBER, "8 7", "8 7 6 5", "-8 -7 6", "8 7 5", "8 7 60000", "4294967296 4294967296 4294967296"),
    "encoding": ("", "abc", "hex", "bzip2"),
    "space directions": TUPLES,
    "space origin": ("(nan,nan,nan)", "(1e30,0,0)", "(1,2)", "abc", ""),
    "space": ("abc", ""),
    "space dimension": ("-1", "1000000"),
    "kinds": ("abc", "domain"),
    "data file": FILES,
    "byte skip": ("-2", "abc", "99999999"),
    "line skip": ("-1", "abc"),
    "thicknesses": ("abc",),
}
META = {
    "NDims": (*NOT_A_NUMBER, "2", "4", "11"),
    "DimSize": (*NOT_A_NUMBER, "8 7", "8 7 6 5", "-8 -7 6", "8 7 5", "8 7 60000", "4294967296 4294967296 4294967296"),
    "ElementType": ("", "MET_NONE", "MET_FOO", "MET_DOUBLE", "MET_STRING"),
    "ElementSpacing": ("nan nan nan", "0 0 0", "1e30 1 1", "1e-30 1 1", "-1 1 1", "1 1", "abc", ""),
    "TransformMatrix": ("0 0 0 0 0 0 0 0 0", "nan 0 0 0 1 0 0 0 1", "1 0 0", "1 0.5 0 0 1 0 0 0 1", "abc", ""),
    "Offset": ("nan nan nan", "1e30 0 0", "1 2", "abc"),
    "ElementDataFile": FILES,
    "CompressedData": ("True", "False"),
    "CompressedDataSize": ("-1", "1", "99999999", "abc"),
    "BinaryData": ("False",),
    "ElementNumberOfChannels": ("0", "-1", "2", "1000000000", "abc"),
    "HeaderSize": ("-5", "99999999", "abc"),
    "ElementSize": ("nan nan nan", "abc"),
    "AnatomicalOrientation": ("", "abc", "???"),
    "ObjectType": ("", "abc"),
}
NIFTI = (
    ("i", 0, (0, -1, 540, 2**31 - 1)),
    ("h", 40, (0, -1, 8, 2, 32767)),
    *(("h", 40 + 2 * axis, (0, -1, 1, 5, 32767)) for axis in (1, 2, 3)),
    ("h", 70, (0, 1, 3, -1, 64, 4096)),
    ("h", 72, (0, 1, -8, 7, 64)),
    *(("f", 76 + 4 * axis, (0, np.nan, np.inf, 1e30, 1e-30, 1e4)) for axis in (1, 2, 3)),
    ("f", 108, (0, -1, 1e9, np.nan, 353.5, 2000)),
    *(("f", 280 + 20 * row, (0, np.nan, np.inf, 1e30, 1e-30)) for row in (0, 1, 2)),
    *(("f", 292 + 16 * row, (np.nan, np.inf, 1e30)) for row in (0, 1, 2)),
    ("4s", 344, (b"", b"ni1", b"n+2", b"abcd")),
)
SEGMENTS = ("abc", "", "-5", "99999999999999999999", "1.5")
GEOMETRY = {"spacing": (1.5, 1, 2), "origin": (-10, 20, 30)}


def write_originals(folder: Path) -> dict[str, Path]:
    """A volume in every format; the label belongs to the image "image"."""
    array = np.round(100 * grey(1)).astype(np.int16)
    made = {}
    for name in ("a.nii", "a.nii.gz", "a.nrrd", "a.nhdr", "a.mha", "a.mhd"):
        made[name] = write(folder / name.replace(".", "_", 1) / name, array, **GEOMETRY)
    image = sitk.ReadImage(str(made["a.nii"]))
    for name in ("gz.nrrd", "gz.mha", "gz.nhdr"):
        made[name] = folder / name.replace(".", "_") / name
        made[name].parent.mkdir()
        sitk.WriteImage(image, str(made[name]), useCompression=True)
    made["image"] = made["a.nii"]
    made["a.seg.nrrd"] = folder / "seg" / "a.seg.nrrd"
    path = write(made["a.seg.nrrd"], label(1, 2, 2), metadata=segments(("Liver", 1), ("Tumour", 2)), **GEOMETRY)
    sitk.WriteImage(sitk.ReadImage(str(path)), str(path), useCompression=True)
    made["series"] = write_dicom(folder / "series", array)
    return made


def damage(original: Path, folder: Path, random: np.random.Generator) -> tuple[Path, str]:
    """A damaged copy in a new folder, and what was done to it."""
    target = folder / original.name
    shutil.copytree(original if original.is_dir() else original.parent, target if original.is_dir() else folder)
    if original.is_dir():
        return target, _damage_series(target, random)
    if random.random() < 0.35:
        return target, _damage_bytes(_one_of([p for p in folder.iterdir() if p.is_file()], random), random)
    if original.name.endswith((".nii", ".nii.gz")):
        return target, _damage_nifti(target, random)
    return target, _damage_text(target, META if original.suffix in (".mha", ".mhd") else NRRD, random)


def _one_of(items, random):
    return items[random.integers(len(items))]


def _damage_bytes(path: Path, random) -> str:
    content = bytearray(path.read_bytes())
    packed = path.name.endswith((".gz", ".zraw")) or path.name.startswith(("gz.", "a.seg"))
    place = int(random.integers(len(content)))
    how = _one_of(["cut", "junk after", "empty"] + ["flip", "junk", "zeros"] * (3 * packed), random)
    if how in ("flip", "junk", "zeros"):  # in what is packed
        begin = _header_length(path, content)
        place = int(random.integers(begin, len(content)))
        length = min(len(content) - place, int(random.integers(1, 40)))
        if how == "flip":
            content[place] ^= 1 << int(random.integers(8))
        else:
            content[place : place + length] = random.bytes(length) if how == "junk" else bytes(length)
    elif how == "junk after":
        content += random.bytes(int(random.integers(1, 3000)))
    else:
        del content[place if how == "cut" else 0 :]
    path.write_bytes(content)
    return f"{path.name}: {how} at {place}"


def _header_length(path: Path, content: bytes) -> int:
    if path.suffix == ".nrrd":
        return content.index(b"\n\n") + 2
    return content.index(b"LOCAL\n") + 6 if path.suffix == ".mha" else 0


def _damage_nifti(path: Path, random) -> str:
    packed = path.name.endswith(".gz")
    content = bytearray(gzip.decompress(path.read_bytes()) if packed else path.read_bytes())
    kind, place, values = _one_of(NIFTI, random)
    value = _one_of(values, random)
    struct.pack_into("<" + kind, content, place, value)
    path.write_bytes(gzip.compress(content) if packed else content)
    return f"{kind} {value} at {place}"


def _damage_text(path: Path, values: dict, random) -> str:
    content = path.read_bytes()
    equals = b" = " if values is META else b": "
    length = _header_length(path, content) if path.suffix in (".nrrd", ".mha") else len(content)
    lines, rest = content[:length].split(b"\n"), content[length:]
    name = _one_of(list(values), random)
    if path.name.endswith(".seg.nrrd") and random.random() < 0.3:
        name, equals, values = f"Segment{random.integers(3)}_LabelValue", b":=", {}
    value = _one_of(values.get(name, SEGMENTS), random)
    line = name.encode() + equals + value.encode()
    found = [n for n, text in enumerate(lines) if text.startswith(name.encode() + equals[:2].strip())]
    how = _one_of(["change"] * 8 + ["twice", "delete", "junk", "long"], random)
    needed = ("type", "dimension", "sizes", "encoding", "NDims", "DimSize", "ElementType", "ElementDataFile")
    if how == "junk":
        lines.insert(int(random.integers(len(lines))), random.bytes(30).replace(b"\n", b""))
    elif how == "long":
        lines.insert(1, b"Comment" + equals + b"x" * 3_000_000)
    elif how == "delete" and name in needed and found:
        del lines[found[0]]
    elif how == "twice" or not found:
        lines.insert(max(1, len(lines) - 3), line)
    else:
        lines[found[0]] = line
    path.write_bytes(b"\n".join(lines) + rest)
    return f"{how}: {line[:80]!r}"


def _damage_series(folder: Path, random) -> str:
    files = sorted(folder.iterdir())
    chosen = files[int(random.integers(1, len(files) - 1))]
    content = bytearray(chosen.read_bytes())
    place = int(random.integers(len(content)))
    how = _one_of(
        ["delete", "copy", "cut", "empty", "text", "pipe", "link", "tag", "position", "orientation", "head"], random
    )
    if how == "delete":
        chosen.unlink()
    elif how == "copy":
        shutil.copy(chosen, folder / "copy.dcm")
    elif how == "cut":
        chosen.write_bytes(content[:place])
    elif how == "empty":
        chosen.write_bytes(b"")
    elif how == "text":
        (folder / "readme.txt").write_text("slices")
    elif how == "pipe" and hasattr(os, "mkfifo"):
        os.mkfifo(folder / "pipe")
    elif how == "link":
        chosen.unlink()
        chosen.symlink_to(chosen.name)
    elif how == "tag":  # another series
        chosen.write_bytes(content.replace(b"1.2.3\0", b"1.2.4\0"))
    elif how in ("position", "orientation"):
        tag, new = (b"\x20\x002\x00", b"9") if how == "position" else (b"\x20\x007\x00", b"5")
        start = content.index(tag) + 8
        chosen.write_bytes(content[:start] + new + content[start + 1 :])
    elif how == "head":
        content[128 : 128 + 400] = random.bytes(400)
        chosen.write_bytes(content)
    return f"{how} {chosen.name} at {place}"
