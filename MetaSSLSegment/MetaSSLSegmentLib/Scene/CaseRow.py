import json
from dataclasses import asdict, dataclass, field

from metassl import INTENSITIES, Case, InputError, SegmentClass

SEVERITIES = ("", "fixed", "warning", "excluded")
"""Of findings about one case, in rising order."""


@dataclass
class CaseRow:
    """One case of the table.

    Attributes:
        id: unique name.
        role: one of ``metassl.ROLES``.
        images: a path per channel; empty when the case is in the scene.
        label: path of the label file, or None.
        nodes: number of the node references ``caseVolumeN`` and ``caseSegmentationN`` when the case is in the scene.
        size, spacing: voxels and mm, (i, j, k); empty until the case was checked.
        labels: names of the classes that its annotation holds.
        severity: worst finding of the check, one of ``SEVERITIES``.
        status: what the check says.
        slicesOnly: whether only the slices with a segment are annotated; of a case of the scene.
        agreement: of a model's two predictions, 0-1; None when nobody knows.
    """

    id: str
    role: str
    images: list = field(default_factory=list)
    label: str | None = None
    nodes: int | None = None
    size: list = field(default_factory=list)
    spacing: list = field(default_factory=list)
    labels: list = field(default_factory=list)
    severity: str = ""
    status: str = ""
    slicesOnly: bool = False
    agreement: float | None = None


@dataclass
class SavedCases:
    """The case list as a scene keeps it.

    Attributes:
        rows: a CaseRow per case.
        classes: dictionaries with name, value, colour, terminology and segments (names).
        channels, intensities: the name of each channel, and what its voxels are, of ``metassl.INTENSITIES``.
        ignoreValue: of voxels in label files that do not count, or None.
        name: of the data set.
        labelValues: other value in label files -> value of the class that it means.
    """

    rows: list = field(default_factory=list)
    classes: list = field(default_factory=list)
    channels: list = field(default_factory=list)
    intensities: list = field(default_factory=list)
    ignoreValue: int | None = None
    name: str = ""
    labelValues: dict = field(default_factory=dict)


def readCases(text):
    """The SavedCases in the JSON that a scene keeps.

    Scene files, whose JSON this is, come from anywhere: what does not fit is ignored as a whole, and the list is empty.
    """
    try:
        content = json.loads(text or "{}")
        rows = [_rowOf(row) for row in content.get("rows", [])]
        classes = [_classOf(c) for c in content.get("classes", [])]
        channels = _texts(content.get("channels", []))
        intensities = _texts(content.get("intensities") or ["auto"] * len(channels))
        if len(intensities) != len(channels) or not set(intensities) <= set(INTENSITIES):
            raise ValueError("the intensities do not fit the channels")
        ignoreValue = content.get("ignoreValue")
        (name,) = _texts([content.get("name", "")])
        labelValues = {int(key): value for key, value in content.get("labelValues", {}).items()}
        if not all(type(value) is int for value in labelValues.values()):
            raise ValueError("a label value is no number")
        if any(row.nodes is None and len(row.images) != len(channels) for row in rows):
            raise ValueError("a case has another number of channels")
        for values in (
            [row.id.casefold() for row in rows],
            [c["name"] for c in classes],
            [c["value"] for c in classes] + [ignoreValue],
        ):
            if len(set(values)) != len(values):
                raise ValueError("something occurs twice")
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, InputError):
        return SavedCases()
    return SavedCases(rows, classes, channels, intensities, ignoreValue, name, labelValues)


def _rowOf(content):
    """A CaseRow of a scene file.

    Raises:
        ValueError, TypeError, InputError: it is not one.
    """
    row = CaseRow(**content)
    _texts([row.id, row.role, row.severity, row.status])
    _texts(row.images), _texts(row.labels)
    numbers = [*row.size, *row.spacing]
    if not all(isinstance(number, int | float) for number in numbers) or row.severity not in SEVERITIES:
        raise ValueError("a case is damaged")
    _texts([] if row.label is None else [row.label])
    if row.agreement is not None and not 0 <= row.agreement <= 1:
        raise ValueError("a case is damaged")
    if not isinstance(row.nodes, int | None) or not isinstance(row.slicesOnly, bool):
        raise ValueError("a case is damaged")
    Case(row.id, tuple(row.images), row.label if row.nodes is None else "in the scene", row.role)
    return row


def _classOf(content):
    """A class of a scene file, as dictionary.

    Raises:
        ValueError, TypeError, KeyError, InputError: it is not one.
    """
    described = SegmentClass(content["name"], content["value"], tuple(content["colour"]), content.get("terminology"))
    _texts([described.name] if described.terminology is None else [described.name, described.terminology])
    return {**asdict(described), "segments": _texts(content["segments"])}


def _texts(values):
    """A list of texts of a scene file.

    Raises:
        ValueError, TypeError: it is not one, or holds unpaired surrogates, which neither Qt nor VTK accepts.
    """
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise TypeError("not a list of texts")
    for value in values:
        value.encode()
    return values
