from metassl import InputError
from slicer.i18n import tr as _

from .CaseExporter import ExportError
from .CaseFiles import rowWith
from .CaseLabels import addFiles, giveLabel, hasAnnotation
from .FolderResults import coloured
from .LabelFiles import copyPrediction, newLabelPath
from .ResultFolder import caseOf
from .SegmentClasses import addNewClasses


def acceptedPieces(cases, folder, accepted, described, channels, runsFolder, labelled):
    """Pieces that make accepted results the labels of their cases, which are added to the table when they are new.

    A case keeps the annotation that it has, and a result that was replaced since it was accepted is no label.

    Args:
        cases: the CaseList.
        folder: with the results, a Path.
        accepted: FolderCases.
        described: dictionaries with name, colour and terminology of classes that the table may lack.
        channels: names of the model's channels.
        runsFolder: where the label files are written.
        labelled: called with each FolderCase as soon as it is a labelled case.

    Returns:
        Why others were left out, a sentence each.

    Raises:
        ExportError: a case does not fit those in the table, or a file cannot be read or written.
    """
    leftOut = []
    for case in accepted:
        if caseOf(folder / f"{case.name}.json") != case:
            leftOut.append(_("{case} was segmented again since: look at it once more.").format(case=case.name))
            continue
        row = rowWith(cases, case.images)
        if row is not None and hasAnnotation(cases, row):
            leftOut.append(_("{case} has an annotation and keeps it.").format(case=row.id))
            continue
        if row is not None and row.nodes is not None:
            text = _("{case} is in the table as a volume of the scene: show its result, then press Use as label.")
            leftOut.append(text.format(case=row.id))
            continue
        classes = [c for c in coloured(case.classes, described) if c["name"] not in cases.segmentValues()]
        path = newLabelPath(runsFolder, case.name if row is None else row.id)
        try:
            addNewClasses(cases, classes, case.name)
            yield from copyPrediction(cases, folder / f"{case.name}_seg.nii.gz", case.classes, path)
            row = row or addFiles(cases, case.name, case.images, channels)
        except InputError as error:
            path.unlink(missing_ok=True)
            raise ExportError(f"{error}\n{error.hint}") from error
        values = cases.segmentValues()
        giveLabel(cases, row, str(path), {values[name] for name, volume in case.volumes.items() if volume > 0})
        labelled(case)
    return leftOut
