import logging
import shutil
from pathlib import Path

from metassl import MetaSSLError, means_ignore
from slicer.i18n import tr as _

from .CaseExporter import ExportError
from .CaseNodes import segmentsOf
from .Pieces import Pieces, inThread
from .SegmentClasses import exportValues, ignoreValueOf


class DatasetExport:
    """Writes the cases of the table as dataset.json and the volumes of the scene as files, piece by piece, so that the
    GUI stays alive.

    Args:
        cases: the CaseList.
        exporter: a CaseExporter.
        folder: where dataset.json is written, the volumes of the scene in its folder ``cases``.
        progress: called with (cases done, cases to do, name).
        done: called with the path of dataset.json.
        failed: called with a text; what was written is removed first.
    """

    def __init__(self, cases, exporter, folder, progress, done, failed):
        self.cases = cases
        self.exporter = exporter
        self.folder = Path(folder)
        self.progress = progress
        self.failed = failed
        self._existed = self.folder.exists()
        self._pieces = Pieces(self._work(), lambda: done(self.folder / "dataset.json"), self._onFailed)

    def start(self):
        """Begin with the next turn of the event loop."""
        self._pieces.start()

    def cancel(self):
        """Write no more and remove what was written; nobody is called any more."""
        self._pieces.cancel()
        self._discard()

    def _work(self):
        waiting = [row for row in self.cases.rows if row.nodes is not None and row.role != "ignored"]
        exported, partly = {}, []
        for number, row in enumerate(waiting):
            self.progress(number, len(waiting), row.id)
            exported[row.id] = yield from self._export(row)
            segmentation = self.cases.nodesOf(row)[1]
            ignored = segmentation is not None and any(means_ignore(name) for _ID, name in segmentsOf(segmentation))
            partly += [row.id] if row.slicesOnly or ignored else []
        dataset = self.cases.dataset(exported, partly)
        yield from inThread(lambda: dataset.save(self.folder / "dataset.json"))  # waits for the disk

    def _onFailed(self, error):
        self._discard()
        if isinstance(error, ExportError | OSError):
            text = str(error)
        elif isinstance(error, MetaSSLError):
            text = "\n".join(filter(None, (str(error), error.hint)))
        else:
            logging.error("MetaSSL: the cases could not be exported", exc_info=error)
            text = _("The cases could not be exported: {error}").format(error=error)
        self.failed(text)

    def _export(self, row):
        """Pieces of work that write a case; returns its (image, label or None)."""
        volume, segmentation = self.cases.nodesOf(row)
        if volume is None:
            raise ExportError(
                _("The volume of case {case} is not in the scene any more. Remove the case, or load it again.").format(
                    case=row.id
                )
            )
        image = self.folder / "cases" / "images" / f"{row.id}.nrrd"
        yield from self.exporter.volumePieces(volume, image)
        if row.role not in ("labelled", "hold-out"):
            return image, None
        if segmentation is None:
            raise ExportError(
                _("The segmentation of case {case} is not in the scene any more. Set its role to unlabelled.").format(
                    case=row.id
                )
            )
        values = exportValues(self.cases, segmentation)
        strange = [name for _ID, name in segmentsOf(segmentation) if name not in values]
        if strange:  # left out, they would be learnt as background
            raise ExportError(
                _(
                    "Case {case} has segments that are new or were renamed since it was added: {names}. Remove the "
                    "case from the table and add it again."
                ).format(case=row.id, names=", ".join(strange))
            )
        label = self.folder / "cases" / "labels" / f"{row.id}.nrrd"
        empty = ignoreValueOf(self.cases) if row.slicesOnly else 0
        yield from self.exporter.segmentationPieces(segmentation, volume, values, label, empty)
        return image, label

    def _discard(self):
        shutil.rmtree(self.folder if not self._existed else self.folder / "cases", ignore_errors=True)
