import qt
from metassl import REGIONS
from slicer.i18n import tr as _

from ..Scene.RegionDisplay import RegionDisplay
from ..Scene.Result import resultsInScene
from ..Scene.Words import regionName
from .Section import Section, allow, chip, fill, setUpTable


class DisplaySection(Section):
    """Look at a result: segmentation, regions, confidence, and the volumes in ml."""

    def __init__(self, ui, logic):
        super().__init__(ui, logic)
        self._mode = "image"
        self._chosen = set()
        """IDs of the nodes of the chosen result."""
        self.chosen = lambda: None
        """Called when another result, or none, is chosen."""
        self._buttons = {
            "segmentation": ui.segmentationButton,
            "regions": ui.regionsButton,
            "confidence": ui.confidenceButton,
            "image": ui.imageButton,
        }
        for mode, button in self._buttons.items():
            button.connect("clicked(bool)", lambda checked, mode=mode: self.show(mode))
        ui.resultBox.connect("currentIndexChanged(int)", self.onResult)
        ui.opacitySlider.connect("valueChanged(double)", self.onOpacity)
        ui.legendBox.connect("toggled(bool)", self.onLegend)
        ui.certainBox.connect("toggled(bool)", self.onLegend)
        table = ui.regionTable
        names = (_("Class"), _("ml"), *(region.code for region in REGIONS))
        setUpTable(table, names)
        for n, region in enumerate(REGIONS, 2):
            table.horizontalHeaderItem(n).setToolTip(regionName(region))
            table.horizontalHeaderItem(n).setIcon(chip(region.colour))

    def setParameterNode(self, parameters, cases):
        super().setParameterNode(parameters, cases)
        self.refresh()

    @property
    def result(self):
        """The chosen result, or None; looked for in the scene, where its nodes may have been deleted meanwhile."""
        return _withAny(self._chosen, resultsInScene())

    def forgetScene(self):
        self._chosen = set()  # the next scene's nodes have the same IDs

    def refresh(self):
        """Find the results of the scene again. The chosen one stays; without one it is the one that can be seen."""
        results = resultsInScene()[::-1]
        chosen = _withAny(self._chosen, results)
        if chosen is None:
            chosen, mode = RegionDisplay.shownOf(results)
            self._setMode(mode)
        self._choose(chosen, results)

    def _choose(self, result, results):
        """Choose one of the results, or none; nothing else is shown for it."""
        self._chosen = set() if result is None else {node.GetID() for node in result.nodes.values()}
        if result is not None and self._mode != "image" and self._mode not in result.nodes:  # it was deleted
            self._setMode("image")
        choices = [(found.first.GetID(), found.name) for found in results]
        fill(self.ui.resultBox, choices, None if result is None else result.first.GetID(), orFirst=False)
        self._fillTable(result)
        self._allow(result)
        self.chosen()

    def nodesChanged(self):
        self.refresh()

    def onResult(self, _index=0):
        results = resultsInScene()[::-1]
        result = _withAny({self.ui.resultBox.currentData}, results)
        self._choose(result, results)
        if result is not None:
            self._show(result, self._mode if self._mode in result.nodes else next(iter(result.nodes)))

    def showNewest(self):
        """Show the segmentation of the newest result, or what it has instead."""
        self.showResult(next(iter(resultsInScene()[::-1]), None))

    def showResult(self, result):
        """Choose a result, and show its segmentation or what it has instead."""
        self._choose(result, resultsInScene()[::-1])
        if result is not None:
            self._show(result, "segmentation" if "segmentation" in result.nodes else next(iter(result.nodes)))

    def show(self, mode):
        """Show one part of the chosen result in the slice views."""
        result = self.result
        if result is not None:
            self._show(result, mode)

    def _show(self, result, mode):
        self._setMode(mode)
        ui = self.ui
        self.logic.display.show(result, mode, self.parameters.opacity, ui.legendBox.checked, ui.certainBox.checked)

    def _setMode(self, mode):
        self._mode = mode
        self._buttons[mode].checked = True

    def onLegend(self, _checked=False):
        self.show(self._mode)

    def onOpacity(self, opacity):
        result = self.result
        if result is not None:
            self.logic.display.setOpacity(result, self._mode, opacity)

    def updateButtons(self):
        self._allow(self.result)

    def _allow(self, result):
        """Enable the buttons of what there is of the chosen result."""
        for mode, button in self._buttons.items():
            missing = ""
            if result is None and self.ui.resultBox.count:
                missing = _("Choose a result first.")
            elif result is None:
                missing = _("Segment a volume in section 4 first.")
            elif mode != "image" and mode not in result.nodes:
                missing = _("This result does not include it.")
            allow(button, missing)

    def _fillTable(self, result):
        """One row per class and one for the whole volume: ml, and ml and percent of each region."""
        summary = {"volume_ml": {}, "regions": {}} if result is None else result.summary()
        volumes, regions = summary["volume_ml"], summary["regions"]
        rows = [(name, name) for name in volumes] + ([("all", _("whole volume"))] if "all" in regions else [])
        table = self.ui.regionTable
        table.setRowCount(len(rows))
        for n, (key, name) in enumerate(rows):
            found = regions.get(key, {})
            total = volumes.get(key) if key in volumes else sum(part["volume_ml"] for part in found.values())
            texts = [name, _millilitres(total)]
            for region in REGIONS:
                part = found.get(region.code)
                texts.append("" if part is None else _share(part))
            for column, text in enumerate(texts):
                table.setItem(n, column, qt.QTableWidgetItem(text))
        table.resizeColumnsToContents()


def _withAny(IDs, results):
    """The first result that has a node with one of these IDs, or None."""
    found = (result for result in results if any(node.GetID() in IDs for node in result.nodes.values()))
    return next(found, None)


def _share(part):
    """ "1.64 (60 %)": ml and percent of a region."""
    percent = 100 * part["share"]
    digits = 0 if percent >= 10 or percent == 0 else 1
    return f"{_millilitres(part['volume_ml'])} ({percent:.{digits}f} %)"


def _millilitres(volume):
    return f"{volume:.3g}" if volume < 100 else f"{volume:.0f}"
