import logging
import shutil
from pathlib import Path

import qt
from metassl import MetaSSLError
from slicer.i18n import tr as _

from .CaseExporter import ExportError
from .CaseNodes import segmentsOf


class DatasetExport:
    """Writes the cases of the table as dataset.json and the volumes of the scene as files, one case per turn of the
    event loop, so that the GUI stays alive.

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
        self.done = done
        self.failed = failed
        self._existed = self.folder.exists()
        self._exported = {}
        self._waiting = [row for row in cases.rows if row.nodes is not None and row.role != "ignored"]
        self._total = len(self._waiting)
        self._cancelled = False

    def start(self):
        """Begin with the next turn of the event loop."""
        self._later()

    def cancel(self):
        """Write no more and remove what was written; nobody is called any more."""
        self._cancelled = True
        self._discard()

    def _later(self):
        qt.QTimer.singleShot(0, self._next)

    def _next(self):
        if self._cancelled:
            return
        try:
            if self._waiting:
                row = self._waiting.pop(0)
                self.progress(self._total - len(self._waiting) - 1, self._total, row.id)
                self._exported[row.id] = self._export(row)
                self._later()
                return
            file = self.folder / "dataset.json"
            self.cases.dataset(self._exported).save(file)
        except (ExportError, OSError) as error:
            self._discard()
            self.failed(str(error))
        except MetaSSLError as error:
            self._discard()
            self.failed("\n".join(filter(None, (str(error), error.hint))))
        except Exception as error:  # nobody else would hear of it: this is called by a timer
            logging.exception("MetaSSL: the cases could not be exported")
            self._discard()
            self.failed(_("The cases could not be exported: {error}").format(error=error))
        else:
            self.done(file)

    def _export(self, row):
        volume, segmentation = self.cases.nodesOf(row)
        if volume is None:
            raise ExportError(
                _("The volume of case {case} is not in the scene any more. Remove the case, or load it again.").format(
                    case=row.id
                )
            )
        image = self.folder / "cases" / "images" / f"{row.id}.nrrd"
        self.exporter.exportVolume(volume, image)
        if row.role not in ("labelled", "hold-out"):
            return image, None
        if segmentation is None:
            raise ExportError(
                _("The segmentation of case {case} is not in the scene any more. Set its role to unlabelled.").format(
                    case=row.id
                )
            )
        values = self.cases.segmentValues()
        strange = [name for _ID, name in segmentsOf(segmentation) if name not in values]
        if strange:  # left out, they would be learnt as background
            raise ExportError(
                _(
                    "Case {case} has segments that are new or were renamed since it was added: {names}. Remove the "
                    "case from the table and add it again."
                ).format(case=row.id, names=", ".join(strange))
            )
        label = self.folder / "cases" / "labels" / f"{row.id}.nrrd"
        self.exporter.exportSegmentation(segmentation, volume, values, label)
        return image, label

    def _discard(self):
        shutil.rmtree(self.folder if not self._existed else self.folder / "cases", ignore_errors=True)
