"""The classes that the segments of the scene mean, and their values in exported label files."""

from metassl import MOST_CLASSES, InputError, means_ignore
from slicer.i18n import tr as _

from .CaseNodes import segmentsOf, terminologyOf


def addClasses(cases, segmentationNode):
    """Give a CaseList a class for every segment name that belongs to none yet.

    Raises:
        InputError: there are too many.
    """
    known, segmentation = exportValues(cases, segmentationNode), segmentationNode.GetSegmentation()
    new = {name: segmentation.GetSegment(ID) for ID, name in segmentsOf(segmentationNode) if name not in known}
    described = [
        {
            "name": name,
            "colour": [round(255 * part) for part in segment.GetColor()],
            "terminology": terminologyOf(segment),
        }
        for name, segment in new.items()
    ]
    addNewClasses(cases, described, segmentationNode.GetName())


def addNewClasses(cases, described, source):
    """Give a CaseList new classes, with values that are free.

    Args:
        cases: the CaseList.
        described: dictionaries with name, colour and terminology.
        source: what they come from, for people.

    Raises:
        InputError: there are too many.
    """
    taken = {c["value"] for c in cases.classes} | {cases.ignoreValue}
    free = [value for value in range(1, 256) if value not in taken | set(cases.labelValues)]
    if len(described) + len(cases.classes) > MOST_CLASSES:
        raise InputError(
            _("{name} has too many segments: a model can have at most {most} classes.").format(
                name=source, most=MOST_CLASSES
            ),
            _("Give segments of the same kind the same name."),
        )
    for c, value in zip(described, free):
        cases.classes.append({**c, "value": value, "segments": [c["name"]]})


def exportValues(cases, segmentationNode):
    """Segment name -> voxel value in the exported label file, where it is known.

    Segments called *ignore* or *not annotated* get the value of voxels that do not count.

    Raises:
        InputError: that value does not fit into a label file.
    """
    ignored = [name for _ID, name in segmentsOf(segmentationNode) if means_ignore(name)]
    if not ignored:
        return cases.segmentValues()
    return {name: ignoreValueOf(cases) for name in ignored} | cases.segmentValues()


def classesInFiles(cases):
    """The classes of a CaseList, and as one more the voxels of its label files that do not count, if there are any."""
    return cases.classes if cases.ignoreValue is None else [*cases.classes, ignoredClass(cases.ignoreValue)]


def ignoredClass(value):
    """The voxels that do not count, as a class whose segment ``exportValues`` understands."""
    return {"name": "ignore", "value": value, "colour": (128, 128, 128), "terminology": None}


def ignoreValueOf(cases):
    """The value of voxels that do not count in exported label files; chosen now when there is none yet.

    Raises:
        InputError: it does not fit into a label file.
    """
    if cases.ignoreValue is None:
        taken = {c["value"] for c in cases.classes} | set(cases.labelValues)
        cases.setIgnoreValue(next(value for value in range(255, 0, -1) if value not in taken))
    if not 1 <= cases.ignoreValue <= 255:
        raise InputError(
            _(
                "The files of the other cases mark voxels to ignore with {value}; a segmentation of the scene cannot."
            ).format(value=cases.ignoreValue),
            _("Clear the table, or rename the segment that says what is not annotated."),
        )
    return cases.ignoreValue
