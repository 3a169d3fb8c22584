import shutil

from slicer.i18n import tr as _

from ..Engine.Runs import classesOf
from ..Scene.Result import isInScene
from ..Scene.ResultLoader import KINDS

CASE = "volume"
"""How the engine names the one volume that it is given."""


CAREFUL = ("--overlap", "0.75", "--mirror")


def predictionOptions(kinds=KINDS, device="auto", keepLargest=False, careful=False):
    """The engine's options for a prediction, as words.

    Args:
        kinds: what to make, of ``KINDS``; the segmentation is always made.
        device: where to compute.
        keepLargest: whether to keep only the largest part of each class.
        careful: whether to average more views of every voxel, which takes several times as long.
    """
    words = ["--device", device]
    words += [] if "regions" in kinds else ["--no-regions"]
    words += [] if "confidence" in kinds else ["--no-confidence"]
    words += CAREFUL if careful else ()
    return words + (["--keep-largest"] if keepLargest else [])


class Segmentation:
    """Segments one volume of the scene; the result becomes nodes beside it.

    When the volume has left the scene meanwhile, or has other voxels, the result is kept in the runs folder instead:
    it never lands on another volume.

    Args:
        task: the Task whose work this is.
        volume: the volume node.
        model: the model folder.
        kinds: which nodes to make, of ``KINDS``.
        done: called with the Result.
    """

    def __init__(self, task, volume, model, kinds, done):
        self.task = task
        self.logic = task.logic
        self.volume = volume
        self.model = model
        self.kinds = kinds
        self.done = done

    def start(self, options):
        """Begin; ``options`` are those of ``predictionOptions``."""
        self.task.begin(_("A volume is being segmented."), temporary=True)
        try:
            self._classes = classesOf(self.model)
        except ValueError as error:
            self.task.finish(str(error), wrong=True)
            return
        image = self.task.folder / f"{CASE}.nrrd"
        self._voxels = self._state()
        self.task.work(
            self.logic.exporter.volumePieces(self.volume, image), lambda _none: self._predict(image, options)
        )

    def _predict(self, image, options):
        results = self.task.folder / "results"
        self.task.run(
            ["predict", self.model, image, "--out", results, *options],
            lambda event: self._load(results),
            survives=True,
            progress=lambda phase, fraction, seconds, text: self.task.progress(phase, fraction, seconds),
        )

    def _state(self):
        """What tells whether the volume still has the same voxels."""
        image = self.volume.GetImageData()
        return None if image is None else (image.GetDimensions(), image.GetPointData().GetScalars().GetMTime())

    def _load(self, results):
        if not isInScene(self.volume) or self._state() != self._voxels:
            kept = self.logic.runs.newFolder(_("results"))
            shutil.copytree(results, kept)
            text = _("The volume is gone or was changed meanwhile; the results are in {folder}")
            self.task.finish(text.format(folder=kept), wrong=True)
            return
        loader = self.logic.loader
        self.task.work(loader.pieces(self.volume, results, CASE, self._classes, self.kinds), self._finish)

    def _finish(self, result):
        text = _("Done: {name}.").format(name=", ".join(node.GetName() for node in result.nodes.values()))
        self.task.finish("\n".join([text, *(warning.removeprefix(f"{CASE}: ") for warning in self.task.warnings)]))
        self.done(result)
