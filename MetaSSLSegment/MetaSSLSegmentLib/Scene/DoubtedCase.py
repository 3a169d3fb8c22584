"""Annotations that a model contradicts: what the engine's audit says of them, and how they are shown."""

from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from slicer.i18n import tr as _

from .CasePreview import loadPrediction, previewOf, showCase
from .Findings import placesIn
from .Result import PREVIEW, isInScene
from .ResultLoader import LoadError
from .SegmentClasses import ignoredClass


class Doubt(NamedTuple):
    """What the audit says of one annotation.

    Attributes:
        case: id.
        score: 0-1, low where the model contradicts it for certain.
        dice: mean Dice of annotation and prediction.
        volume: of the doubted voxels, ml.
        isTrainedOn: whether the model has learnt from it.
        places: where to look, the largest doubt first.
    """

    case: str
    score: float
    dice: float
    volume: float
    isTrainedOn: bool
    places: tuple


def doubtsIn(event, IDs):
    """The doubts that the engine's event tells of these cases, the most doubtful first; damaged ones are left out."""
    found = [_doubtOf(told) for told in event.get("cases") or ()]
    return [doubt for doubt in found if doubt is not None and doubt.case in IDs]


def _doubtOf(told):
    try:
        dice = [float(value) for value in told["dice"].values()]
        numbers = float(told["score"]), sum(dice) / max(1, len(dice)), float(told["doubt_ml"])
        return Doubt(str(told["case"]), *numbers, bool(told["trained_on"]), tuple(placesIn(told)))
    except (TypeError, KeyError, ValueError, AttributeError, OverflowError):
        return None


class DoubtedCase:
    """An annotation in the slice views, as outlines, and in it the doubted voxels, filled; reviewed like a ``Result``.

    Of a case of files, the annotation is what the engine has read, which Slicer's reader may not understand.

    Args:
        cases: the CaseList.
        row: CaseRow of the case.
        doubt: what the audit says.
        folder: where the engine has written its labelmaps.
        ignoreValue: of voxels in them that nobody has annotated.

    Raises:
        LoadError: files of the case or the labelmap cannot be read, or the annotation is gone.
    """

    def __init__(self, cases, row, doubt, folder, ignoreValue):
        self._doubt, self._looked = doubt, set()
        files = {kind: Path(folder) / f"{row.id}_{kind}.nii.gz" for kind in ("annotation", "doubt")}
        shown = showCase(cases, replace(row, label=None))
        self.keptInWords = shown.keptInWords()
        self.volumeNode, annotation = shown.volume, shown.annotation
        if row.nodes is None:
            classes = [*cases.classes, ignoredClass(ignoreValue)]
            annotation = loadPrediction(self.volumeNode, files["annotation"], classes, row.id)
        elif annotation is None:
            raise LoadError(_("{case} has no annotation any more.").format(case=row.id))
        self.nodes = {"segmentation": annotation}
        outlines = annotation if annotation.GetAttribute(PREVIEW) else previewOf(annotation)
        outlines.GetDisplayNode().SetVisibility2DFill(False)
        name = _("{case} doubted").format(case=row.id)
        self._overlay = loadPrediction(self.volumeNode, files["doubt"], cases.classes, name)
        self._overlay.GetDisplayNode().SetOpacity2DFill(0.8)

    @property
    def first(self):
        return self.nodes["segmentation"]

    @property
    def isShown(self):
        """Whether it is still what the last preview was made for."""
        return all(isInScene(node) for node in (self.first, self.volumeNode, self._overlay))

    def findings(self):
        return {}

    def inWords(self):
        """What the audit says, for people."""
        doubt = self._doubt
        text = _(
            "{case}: the model contradicts {ml:.3g} ml of the annotation for certain (filled; outlines are what is "
            "annotated). Score {score:.2f}, Dice {dice:.2f}."
        ).format(case=doubt.case, ml=doubt.volume, score=doubt.score, dice=doubt.dice)
        if doubt.isTrainedOn:
            text += " " + _("The model has learnt from it, so that it may overlook mistakes.")
        return text

    def places(self):
        return list(self._doubt.places)

    def looked(self):
        return self._looked

    def tickOff(self, number):
        self._looked.add(number)
