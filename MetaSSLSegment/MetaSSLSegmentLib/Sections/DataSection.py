from pathlib import Path

import qt
import slicer
from metassl import ROLES, Dataset, InputError
from slicer.i18n import tr as _

from ..Scene.CaseExporter import segmentsOf
from ..Scene.Result import PREVIEW, RESULT, removeNode
from ..Scene.ResultLoader import LoadError, toSegmentation
from ..Scene.SampleSource import discardUnfinished, sampleDataset, sampleIsMade
from .Section import Section, allow, fill, say, setUpTable
from .Task import Task

WIDEST_COLUMN = 140
"""In pixels."""
STATUS_COLOURS = {"fixed": (90, 90, 90), "warning": (170, 110, 0), "excluded": (190, 40, 30)}


class DataSection(Section):
    """Choosing the cases and classes that a model is trained on."""

    def __init__(self, ui, logic):
        super().__init__(ui, logic)
        self.task = Task(logic, ui.dataStatus, ui.dataProgress)
        self._stops = []
        self._filling = False
        self._setUpTables()
        fill(ui.roleBox, list(zip(ROLES, (_("labelled"), _("unlabelled"), _("hold-out"), _("ignored")))))
        ui.addFolderButton.connect("clicked(bool)", self.onAddFolder)
        ui.casesFolderPath.connect("currentPathChanged(QString)", lambda path: self.updateButtons())
        ui.sampleButton.connect("clicked(bool)", self.onSample)
        ui.addNodesButton.connect("clicked(bool)", self.onAddNodes)
        ui.addAllNodesButton.connect("clicked(bool)", self.onAddAllNodes)
        ui.caseVolumeSelector.connect("currentNodeChanged(vtkMRMLNode*)", self.onVolumeChosen)
        ui.setRoleButton.connect("clicked(bool)", self.onSetRole)
        ui.removeCasesButton.connect("clicked(bool)", self.onRemove)
        ui.clearCasesButton.connect("clicked(bool)", self.onClear)
        ui.checkButton.connect("clicked(bool)", self.onCheck)
        ui.cancelDataButton.connect("clicked(bool)", self.onCancel)
        ui.caseTable.connect("itemSelectionChanged()", self.updateButtons)
        ui.caseTable.connect("cellDoubleClicked(int,int)", lambda row, column: self.showCase(row))
        ui.classTable.connect("cellDoubleClicked(int,int)", self.onClassDoubleClicked)
        ui.classTable.connect("cellChanged(int,int)", self.onClassEdited)

    def _setUpTables(self):
        for table, names in (
            (self.ui.caseTable, (_("Case"), _("Role"), _("Size"), _("Spacing (mm)"), _("Labels"), _("Status"))),
            (self.ui.classTable, (_("Colour"), _("Name"), _("Value"))),
        ):
            setUpTable(table, names)
            table.horizontalHeader().setStretchLastSection(True)

    def setParameterNode(self, parameters, cases):
        super().setParameterNode(parameters, cases)
        self.refresh()

    # What is shown

    def refresh(self):
        """Fill both tables from the case list."""
        table = self.ui.caseTable
        table.setRowCount(len(self.cases))
        for n, row in enumerate(self.cases.rows):
            texts = (
                row.id,
                row.role,
                " x ".join(str(size) for size in row.size),
                " x ".join(f"{spacing:.3g}" for spacing in row.spacing),
                ", ".join(row.labels),
                row.status.split("\n")[0],
            )
            for column, text in enumerate(texts):
                item = qt.QTableWidgetItem(text)
                item.setToolTip(row.status if column == 5 or row.severity else text)
                if row.severity:
                    item.setForeground(qt.QBrush(qt.QColor(*STATUS_COLOURS[row.severity])))
                table.setItem(n, column, item)
        table.resizeColumnsToContents()
        for column in range(table.columnCount - 1):  # leave room for the status
            table.setColumnWidth(column, min(table.columnWidth(column), WIDEST_COLUMN))
        self._fillClasses()
        self.logic.tellSections()

    def _fillClasses(self):
        table, self._filling = self.ui.classTable, True
        table.setRowCount(len(self.cases.classes))
        for n, c in enumerate(self.cases.classes):
            for column, text in enumerate(("", c["name"], str(c["value"]))):
                item = qt.QTableWidgetItem(text)
                if column == 0:
                    item.setBackground(qt.QBrush(qt.QColor(*c["colour"])))
                table.setItem(n, column, item)
        self._filling = False

    def summary(self):
        """How many cases have which role."""
        counts = self.cases.counts()
        return ", ".join(f"{count} {role}" for role, count in counts.items() if count)

    def updateButtons(self):
        ui, busy = self.ui, self.logic.busy()
        selected = "" if self.selectedIDs() else _("Select cases in the table first.")
        empty = "" if self.cases is not None and len(self.cases) else _("Add cases first.")
        ready = self.logic.notReady()
        folder = "" if str(ui.casesFolderPath.currentPath or "") else _("Choose a folder first.")
        volume = "" if ui.caseVolumeSelector.currentNode() is not None else _("Choose a volume of the scene first.")
        allow(ui.addFolderButton, busy or ready or folder, _("Add all cases of this folder to the table."))
        allow(ui.sampleButton, busy or ready, _("Make a small synthetic data set (no download) and add it."))
        allow(ui.addNodesButton, busy or volume, _("Add this volume and its segments to the table."))
        allow(ui.addAllNodesButton, busy or _missingVolumes(), _("Add every volume of the scene."))
        allow(ui.setRoleButton, busy or selected, _("Give the selected cases this role."))
        allow(ui.removeCasesButton, busy or selected, _("Take the selected cases out of the table."))
        allow(ui.clearCasesButton, busy or empty, _("Empty the table. Files and nodes stay."))
        allow(ui.checkButton, busy or ready or empty, _("Read every case and say what is wrong with which file."))
        ui.cancelDataButton.enabled = self.task.isRunning

    def selectedIDs(self):
        """Ids of the selected cases."""
        if self.cases is None:
            return []
        rows = sorted({index.row() for index in self.ui.caseTable.selectionModel().selectedRows()})
        return [self.cases.rows[n].id for n in rows if n < len(self.cases)]

    # Adding

    def onAddFolder(self, _checked=False):
        folder = Path(str(self.ui.casesFolderPath.currentPath))
        self.ui.casesFolderPath.addCurrentPathToHistory()
        if isDataset(folder / "dataset.json"):  # of this extension: it says roles and class names already
            self._add(folder / "dataset.json")
            return
        self.task.begin(_("Cases are being read."), temporary=True)
        prepared = self.task.folder / "dataset.json"
        self.task.run(["prepare", folder, "--out", prepared], lambda event: self._add(event["dataset"]))

    def onSample(self, _checked=False):
        if sampleIsMade():
            self._add(sampleDataset())
            return
        discardUnfinished()
        self.task.begin(_("The sample is being made."))
        self.task.run(["sample", "--out", sampleDataset().parent], lambda event: self._add(event["dataset"]))

    def _add(self, dataset):
        try:
            added = self.cases.addDataset(dataset)
        except InputError as error:
            self.task.finish(f"{error}\n{error.hint}", wrong=True)
            return
        self.refresh()
        self.task.finish(_("{count} new case(s): {summary}.").format(count=added, summary=self.summary()))
        if added:
            self.onCheck()

    def onVolumeChosen(self, volume):
        """Propose the segmentation that was drawn on this volume."""
        if volume is not None:
            self.ui.caseSegmentationSelector.setCurrentNode(segmentationOn(volume))
        self.updateButtons()

    def onAddNodes(self, _checked=False):
        self._addNodes([(self.ui.caseVolumeSelector.currentNode(), self.ui.caseSegmentationSelector.currentNode())])

    def onAddAllNodes(self, _checked=False):
        volumes = [node for node in slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode") if isCaseVolume(node)]
        known = [self.cases.nodesOf(row)[0] for row in self.cases.rows if row.nodes is not None]
        self._addNodes([(node, segmentationOn(node)) for node in volumes if node not in known])

    def _addNodes(self, pairs):
        problem = ""
        for volume, segmentation in pairs:
            try:
                self.cases.addNodes(volume, segmentation)
            except InputError as error:
                problem = f"{error}\n{error.hint}"
        self.refresh()
        say(self.ui.dataStatus, problem or self.summary() + ".", wrong=bool(problem))

    # Changing

    def onSetRole(self, _checked=False):
        selected = self.selectedIDs()
        try:
            self.cases.setRole(selected, self.ui.roleBox.currentData)
            say(self.ui.dataStatus, self.summary() + ".")
        except InputError as error:
            say(self.ui.dataStatus, f"{error} {error.hint}", wrong=True)
        self.refresh()
        self._select(selected)

    def _select(self, ids):
        """Select rows again after the table was filled anew."""
        table, ids = self.ui.caseTable, set(ids)
        selection, model = table.selectionModel(), table.model()
        flags = qt.QItemSelectionModel.Select | qt.QItemSelectionModel.Rows
        blocked = table.blockSignals(True)  # the buttons need to know only once
        for n, row in enumerate(self.cases.rows):
            if row.id in ids:
                selection.select(model.index(n, 0), flags)
        table.blockSignals(blocked)
        self.updateButtons()

    def onRemove(self, _checked=False):
        self.cases.remove(self.selectedIDs())
        self.refresh()
        say(self.ui.dataStatus, self.summary())

    def onClear(self, _checked=False):
        self.cases.clear()
        self.refresh()
        say(self.ui.dataStatus, "")

    def onClassDoubleClicked(self, row, column):
        c = self.cases.classes[row]
        if column == 1:
            self.ui.classTable.editItem(self.ui.classTable.item(row, column))
        elif column == 0:
            colour = qt.QColorDialog.getColor(qt.QColor(*c["colour"]), self.ui.classTable, c["name"])
            if colour.isValid():
                self.cases.setColour(c["value"], (colour.red(), colour.green(), colour.blue()))
                self._fillClasses()

    def onClassEdited(self, row, column):
        if self._filling or column != 1:
            return
        try:
            self.cases.renameClass(self.cases.classes[row]["value"], self.ui.classTable.item(row, column).text())
        except InputError as error:
            say(self.ui.dataStatus, f"{error} {error.hint}", wrong=True)
        self.refresh()

    # Looking

    def showCase(self, n):
        """Show a case in the slice views; a case of a folder is loaded for it and replaces the one before."""
        row = self.cases.rows[n]
        removePreviews()
        try:
            volume, segmentation = self.cases.nodesOf(row) if row.nodes is not None else self._loadPreview(row)
        except (RuntimeError, OSError, ValueError, LoadError) as error:
            removePreviews()
            say(self.ui.dataStatus, _("{case} cannot be shown: {error}").format(case=row.id, error=error), wrong=True)
            return
        if volume is None:
            say(self.ui.dataStatus, _("The volume of case {case} is gone.").format(case=row.id), wrong=True)
            return
        slicer.util.setSliceViewerLayers(background=volume, foreground=None, label=None, fit=True)
        if segmentation is not None:
            segmentation.CreateDefaultDisplayNodes()
            segmentation.GetDisplayNode().SetVisibility(True)

    def _loadPreview(self, row):
        image = Path(row.images[0])
        if image.is_dir():
            image = min(path for path in image.iterdir() if path.is_file())
        volume = slicer.util.loadVolume(str(image), {"name": row.id, "show": False})
        volume.SetName(row.id)
        volume.SetAttribute(PREVIEW, "1")
        if row.label is None:
            return volume, None
        if row.label.endswith(".seg.nrrd"):
            segmentation = slicer.util.loadSegmentation(row.label, {"name": row.id})
        else:
            labelmap = slicer.util.loadLabelVolume(row.label, {"name": row.id, "show": False})
            segmentation = toSegmentation(labelmap, volume, self.cases.classes)
        segmentation.SetName(row.id)
        segmentation.SetAttribute(PREVIEW, "1")
        return volume, segmentation

    # Checking

    def onCheck(self, _checked=False):
        self._stops = []
        self.task.begin(_("Cases are being read."), temporary=True)
        self.task.export(self.cases, self.task.folder / "check", self._checkFile)

    def _checkFile(self, dataset):
        def checked(event):
            self.task.finish(self._verdict(), wrong=bool(self._stops))

        self.task.run(["check", dataset], checked, event=self._onReport)

    def _onReport(self, event):
        if event["event"] == "report":
            stops = [problem for problem in event.get("problems", []) if problem.get("case_id") is None]
            self._stops = [" ".join(filter(None, (stop["message"], stop.get("remedy")))) for stop in stops]
            self.cases.applyReport(event)
            self.refresh()

    def _verdict(self):
        """What the check found; what makes training impossible comes first."""
        if self._stops:
            return "\n".join(self._stops)
        severities = [row.severity for row in self.cases.rows]
        bad, odd = severities.count("excluded"), severities.count("warning")
        if not bad and not odd:
            return _("{summary}: all can be used.").format(summary=self.summary())
        return _("{summary}. {bad} cannot be used and {odd} need a look: see the column Status.").format(
            summary=self.summary(), bad=bad, odd=odd
        )

    def onCancel(self, _checked=False):
        self.task.cancel()

    def cleanup(self):
        self.task.abandon()


def isDataset(path):
    """Whether a file is a dataset.json of this extension; other programs have files of that name too."""
    try:
        Dataset.load(path)
    except InputError:
        return False
    return True


def removePreviews():
    """Remove what was loaded to look at a case."""
    for node in slicer.util.getNodesByClass("vtkMRMLDisplayableNode"):
        if node.GetAttribute(PREVIEW):
            removeNode(node)


def isCaseVolume(node):
    """Whether a volume can be a case: one value per voxel, no labelmap, no result or preview of this module."""
    image = node.GetImageData()
    return (
        image is not None
        and image.GetNumberOfScalarComponents() == 1
        and not node.IsA("vtkMRMLLabelMapVolumeNode")
        and node.GetAttribute(RESULT) is None
        and node.GetAttribute(PREVIEW) is None
        and not node.GetHideFromEditors()
    )


def segmentationOn(volume):
    """The segmentation that was drawn on this volume and is no result of this module, or None."""
    role = slicer.vtkMRMLSegmentationNode.GetReferenceImageGeometryReferenceRole()
    for node in slicer.util.getNodesByClass("vtkMRMLSegmentationNode"):
        drawn = node.GetNodeReference(role) is volume
        if drawn and segmentsOf(node) and node.GetAttribute(RESULT) is None:
            return node
    return None


def _missingVolumes():
    volumes = slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")
    return "" if any(isCaseVolume(node) for node in volumes) else _("There is no volume in the scene.")
