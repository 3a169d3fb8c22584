from metassl import InputError

from .CaseExporter import ExportError
from .CaseFiles import rowWith
from .CaseLabels import addFiles, giveLabel
from .FolderResults import coloured
from .LabelFiles import copyPrediction, newLabelPath
from .SegmentClasses import addNewClasses


def acceptedPieces(cases, folder, accepted, described, channels, runsFolder):
    """Pieces that make accepted results the labels of their cases, which are added to the table when they are new.

    Args:
        cases: the CaseList.
        folder: with the results, a Path.
        accepted: FolderCases.
        described: dictionaries with name, colour and terminology of classes that the table may lack.
        channels: names of the model's channels.
        runsFolder: where the label files are written.

    Raises:
        ExportError: a case does not fit those in the table, or a file cannot be read or written.
    """
    for case in accepted:
        classes = [c for c in coloured(case.classes, described) if c["name"] not in cases.segmentValues()]
        try:
            row = rowWith(cases, case.images) or addFiles(cases, case.name, case.images, channels)
            addNewClasses(cases, classes, case.name)
        except InputError as error:
            raise ExportError(f"{error}\n{error.hint}") from error
        path = newLabelPath(runsFolder, row.id)
        yield from copyPrediction(cases, folder / f"{case.name}_seg.nii.gz", case.classes, path)
        values = cases.segmentValues()
        giveLabel(cases, row, str(path), {values[name] for name, volume in case.volumes.items() if volume > 0})
