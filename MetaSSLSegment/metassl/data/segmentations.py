"""The segments of .seg.nrrd files, as 3D Slicer describes them, and the classes that they mean."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import SimpleITK as sitk

from .dataset import IGNORE, Dataset
from .names import means_ignore, name_key
from .rules import UnusableCase


@dataclass(frozen=True)
class Segment:
    """One segment as a .seg.nrrd file describes it.

    Attributes:
        name: as shown in Slicer.
        value: voxel value in the segment's layer.
        layer: component of the voxels that holds the segment.
        colour: RGB, 0-255, or None.
        terminology: Slicer's serialized terminology entry, or None.
    """

    name: str
    value: int
    layer: int
    colour: tuple[int, int, int] | None
    terminology: str | None


def read_segments(image: sitk.Image | sitk.ImageFileReader, path: Path | str) -> list[Segment]:
    """The segments that the metadata of a .seg.nrrd describe; none for other files.

    See "Segmentation file format" in 3D Slicer's developer guide (keys ``SegmentN_Name``, ``SegmentN_LabelValue``,
    ``SegmentN_Layer``, ``SegmentN_Color``, ``SegmentN_Tags``).

    Raises:
        UnusableCase: the metadata are damaged.
    """

    def text(key: str, default: str = "") -> str:
        return image.GetMetaData(key).strip() if image.HasMetaDataKey(key) else default

    segments = []
    while image.HasMetaDataKey(f"Segment{len(segments)}_LabelValue"):
        key = f"Segment{len(segments)}_"
        tags = [tag.partition(":") for tag in text(key + "Tags").split("|")]
        try:
            rgb = tuple(round(255 * float(c)) for c in text(key + "Color").split())
            segment = Segment(
                name=text(key + "Name") or text(key + "ID", f"segment {len(segments)}"),
                value=int(text(key + "LabelValue")),
                layer=int(text(key + "Layer", "0")),
                colour=rgb if len(rgb) == 3 and all(0 <= c <= 255 for c in rgb) else None,
                terminology=next((value for name, _, value in tags if name == "TerminologyEntry"), None),
            )
        except ValueError as error:
            raise UnusableCase(
                "unreadable",
                f"{path} describes segment {len(segments)} in a damaged way: {error}.",
                "Load it into Slicer and save it again.",
            ) from error
        segments.append(segment)
    return segments


def class_of_value(dataset: Dataset, segments: Sequence[Segment] = ()) -> tuple[dict[int, int], list[str]]:
    """Voxel value -> class index: by segment name, by the data set's value where the name is not a class.

    Returns:
        The indices (0 background, k for ``dataset.classes[k - 1]``, ``IGNORE``), and sentences on segments that are
        read by their value.
    """
    names = dict(enumerate((c.name for c in dataset.classes), 1))
    by_value = {0: 0, **{c.value: k for k, c in enumerate(dataset.classes, 1)}}
    if dataset.ignore_value is not None:
        by_value[dataset.ignore_value] = IGNORE
    by_value |= {value: by_value[meant] for value, meant in dataset.label_values.items()}
    by_name = {name_key(name): k for k, name in names.items()}
    by_name |= {name_key(s.name): IGNORE for s in segments if means_ignore(s.name) and name_key(s.name) not in by_name}
    named = {s.value: by_name[name_key(s.name)] for s in segments if name_key(s.name) in by_name}
    # A class found by its name is not looked for by its value as well: that value may be another segment's.
    meaning = {v: k for v, k in by_value.items() if k not in named.values()} | named
    return meaning, [
        f"The segment {s.name!r} is not one of the classes; by its value it is read as {names[meaning[s.value]]!r}."
        for s in segments
        if s.value not in named and meaning.get(s.value) in names
    ]


def repeated_names(segments: Sequence[Segment]) -> list[tuple[str, int]]:
    """The names that several segments of a file have, and how many have it."""
    counts = Counter(name_key(s.name) for s in segments)
    return [(next(s.name for s in segments if name_key(s.name) == key), n) for key, n in counts.items() if n > 1]
