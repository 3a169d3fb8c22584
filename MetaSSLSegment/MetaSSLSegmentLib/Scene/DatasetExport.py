import logging
import shutil
from pathlib import Path

from metassl import MetaSSLError, means_ignore
from slicer.i18n import tr as _

from .CaseExporter import ExportError
from .CaseNodes import segmentsOf
from .Channels import requireOneGrid
from .Pieces import inThread
from .SegmentClasses import exportValues, ignoreValueOf


def datasetPieces(cases, exporter, folder, progress):
    """Pieces of work that write the cases of the table as dataset.json, and the volumes of the scene as files.

    Args:
        cases: the CaseList.
        exporter: a CaseExporter.
        folder: where dataset.json is written, the volumes of the scene in its folder ``cases``.
        progress: called with (cases done, cases to do, name).

    Returns:
        The path of dataset.json.

    Raises:
        ExportError: with a text for people. What was written is removed, also when the work is closed early.
    """
    folder = Path(folder)
    existed = folder.exists()
    try:
        waiting = [row for row in cases.rows if row.nodes is not None and row.role != "ignored"]
        exported, partly = {}, []
        for number, row in enumerate(waiting):
            progress(number, len(waiting), row.id)
            exported[row.id] = yield from _casePieces(cases, row, exporter, folder / "cases")
            segmentation = cases.nodesOf(row)[1]
            ignored = segmentation is not None and any(means_ignore(name) for _ID, name in segmentsOf(segmentation))
            partly += [row.id] if row.slicesOnly or ignored else []
        dataset = cases.dataset(exported, partly)
        yield from inThread(lambda: dataset.save(folder / "dataset.json"))  # waits for the disk
    except BaseException as error:  # GeneratorExit too
        shutil.rmtree(folder / "cases" if existed else folder, ignore_errors=True)
        if isinstance(error, Exception):
            raise _forPeople(error) from error
        raise
    return folder / "dataset.json"


def _forPeople(error):
    """An ExportError that says what went wrong."""
    if isinstance(error, ExportError | OSError):
        return ExportError(str(error))
    if isinstance(error, MetaSSLError):
        return ExportError("\n".join(filter(None, (str(error), error.hint))))
    logging.error("MetaSSL: the cases could not be exported", exc_info=error)
    return ExportError(_("The cases could not be exported: {error}").format(error=error))


def _casePieces(cases, row, exporter, folder):
    """Pieces of work that write a case of the scene; returns its (images, label or None)."""
    volumes, segmentation = cases.volumesOf(row), cases.nodesOf(row)[1]
    if None in volumes:
        raise ExportError(
            _("The volume of case {case} is not in the scene any more. Remove the case, or load it again.").format(
                case=row.id
            )
        )
    requireOneGrid(volumes)  # they may have been moved since
    numbers = [""] if len(volumes) == 1 else [f"_{n:04}" for n in range(len(volumes))]
    images = [folder / "images" / f"{row.id}{number}.nrrd" for number in numbers]
    for volume, image in zip(volumes, images):
        yield from exporter.volumePieces(volume, image)
    if row.role not in ("labelled", "hold-out"):
        return images, None
    if segmentation is None:
        raise ExportError(
            _("The segmentation of case {case} is not in the scene any more. Set its role to unlabelled.").format(
                case=row.id
            )
        )
    values = exportValues(cases, segmentation)
    strange = [name for _ID, name in segmentsOf(segmentation) if name not in values]
    if strange:  # left out, they would be learnt as background
        raise ExportError(
            _(
                "Case {case} has segments that are new or were renamed since it was added: {names}. Remove the "
                "case from the table and add it again."
            ).format(case=row.id, names=", ".join(strange))
        )
    label = folder / "labels" / f"{row.id}.nrrd"
    empty = ignoreValueOf(cases) if row.slicesOnly else 0
    yield from exporter.segmentationPieces(segmentation, volumes[0], values, label, empty)
    return images, label
