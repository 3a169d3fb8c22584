"""Stand-ins of the qMRML and qSlicer widgets: they know the scene."""

import weakref

import shiboken6
from PySide6 import QtCore, QtGui, QtWidgets
from PySide6.QtCore import Property, Signal

from .widgets import rowLayout, standIn, storedProperty


class _SceneWidget(QtWidgets.QWidget):
    """What qMRMLWidget and qSlicerWidget have in common."""

    mrmlSceneChanged = Signal(object)

    def __init__(self, parent=None):
        super().__init__(parent)
        self._scene = None

    def mrmlScene(self):
        return self._scene

    def setMRMLScene(self, scene):
        if scene is not self._scene:
            self._scene = scene
            self.mrmlSceneChanged.emit(scene)


@standIn
class qMRMLWidget(_SceneWidget):
    """A widget that hands the scene on through its signal `mrmlSceneChanged`."""


@standIn
class qSlicerWidget(_SceneWidget):
    """As qMRMLWidget."""


class _FilterModel(QtCore.QObject):
    """Stand-in of qMRMLSortFilterProxyModel, of which only this list is imitated."""

    hiddenNodeIDs = storedProperty("QStringList", "hiddenNodeIDs", [], onChange="_changed")

    def _changed(self):
        self.parent()._refresh()


class _NodeList:
    """Which nodes of the scene a node selector offers, kept up to date by observers on the scene."""

    def _listenToScene(self, scene):
        for tag in getattr(self, "_observerTags", []):
            self._scene.RemoveObserver(tag)
        self._scene = scene
        self._observerTags = []
        if scene is not None:
            onSceneChanged = self._sceneObserver(scene)
            for event in (
                scene.NodeAddedEvent,
                scene.NodeRemovedEvent,
                scene.EndImportEvent,
                scene.EndCloseEvent,
                scene.EndBatchProcessEvent,
            ):
                self._observerTags.append(scene.AddObserver(event, onSceneChanged))

    def _sceneObserver(self, scene):
        """A function that does not keep the widget alive, and stops observing once Qt has deleted it."""
        weakSelf, tags = weakref.ref(self), self._observerTags

        def onSceneChanged(caller, event):
            widget = weakSelf()
            if widget is not None and shiboken6.isValid(widget):
                widget._refresh()
            else:
                while tags:
                    scene.RemoveObserver(tags.pop())

        return onSceneChanged

    def mrmlScene(self):
        return self._scene

    def addAttribute(self, nodeType, name, value=None):
        """Offer only nodes of this type that have the attribute (with this value, if one is given)."""
        self._attributes.setdefault(nodeType, {})[name] = value
        self._refresh()

    def _nodes(self):
        if self._scene is None:
            return []
        every = (self._scene.GetNthNode(index) for index in range(self._scene.GetNumberOfNodes()))
        types, hidden = list(self.nodeTypes), self._filterModel.hiddenNodeIDs
        candidates = [node for node in every if any(node.IsA(nodeType) for nodeType in types)]
        return [node for node in candidates if node.GetID() not in hidden and self._offers(node)]

    def sortFilterProxyModel(self):
        return self._filterModel

    def _offers(self, node):
        if node.GetHideFromEditors() and not self.showHidden:
            return False
        if any(node.IsA(nodeType) for nodeType in self.hideChildNodeTypes):
            return False
        for nodeType in self.nodeTypes:
            isOfType = node.IsA(nodeType) if self.showChildNodeTypes else node.GetClassName() == nodeType
            if isOfType and all(
                node.GetAttribute(name) is not None and value in (None, node.GetAttribute(name))
                for name, value in self._attributes.get(nodeType, {}).items()
            ):
                return True
        return False

    def nodeCount(self):
        return len(self._nodes())

    def nodeFromIndex(self, index):
        return self._nodes()[index]


@standIn
class qMRMLNodeComboBox(QtWidgets.QWidget, _NodeList):
    """Selects one node of the scene, or none."""

    currentNodeChanged = Signal((object,), (bool,))
    currentNodeIDChanged = Signal(str)
    nodeActivated = Signal(object)
    nodeAdded = Signal(object)
    nodeAddedByUser = Signal(object)

    nodeTypes = storedProperty("QStringList", "nodeTypes", [], onChange="_refresh")
    hideChildNodeTypes = storedProperty("QStringList", "hideChildNodeTypes", [], onChange="_refresh")
    showChildNodeTypes = storedProperty(bool, "showChildNodeTypes", True, onChange="_refresh")
    showHidden = storedProperty(bool, "showHidden", False, onChange="_refresh")
    noneEnabled = storedProperty(bool, "noneEnabled", False, onChange="_refresh")
    noneDisplay = storedProperty(str, "noneDisplay", "None", onChange="_refresh")
    addEnabled = storedProperty(bool, "addEnabled", True)
    removeEnabled = storedProperty(bool, "removeEnabled", True)
    renameEnabled = storedProperty(bool, "renameEnabled", False)
    editEnabled = storedProperty(bool, "editEnabled", False)
    selectNodeUponCreation = storedProperty(bool, "selectNodeUponCreation", True)
    baseName = storedProperty(str, "baseName", "")
    sizeAdjustPolicy = Property(
        int,
        lambda self: self._comboBox.sizeAdjustPolicy.value,
        lambda self, policy: self._comboBox.setSizeAdjustPolicy(QtWidgets.QComboBox.SizeAdjustPolicy(policy)),
    )

    def __init__(self, parent=None):
        super().__init__(parent)
        self._scene, self._node, self._attributes, self._observerTags = None, None, {}, []
        self._filterModel = _FilterModel(self)
        self._requestedNode = None  # asked for while the scene was being loaded
        self._comboBox = QtWidgets.QComboBox(self)
        self._comboBox.setSizePolicy(QtWidgets.QSizePolicy.Expanding, QtWidgets.QSizePolicy.Fixed)
        rowLayout(self, self._comboBox)
        self.setSizePolicy(QtWidgets.QSizePolicy.Preferred, QtWidgets.QSizePolicy.Fixed)
        self._comboBox.activated.connect(self._activate)
        self._refresh()

    def setMRMLScene(self, scene):
        self._listenToScene(scene)
        self._refresh()
        if self._node is None and not self.noneEnabled and self._nodes():
            self._select(self._nodes()[0])

    def _activate(self, index):
        self.setCurrentNodeID(self._comboBox.itemData(index))
        self.nodeActivated.emit(self._node)

    def _refresh(self):
        if self._scene is not None and self._scene.IsBatchProcessing():
            return  # once, at the end
        nodes = self._nodes()
        self._comboBox.blockSignals(True)
        self._comboBox.clear()
        self._comboBox.addItem(self.noneDisplay, None)
        for node in nodes:
            self._comboBox.addItem(node.GetName(), node.GetID())
        self._comboBox.blockSignals(False)
        wanted, self._requestedNode = self._requestedNode or self._node, None
        self._select(wanted if wanted in nodes else None)

    def _select(self, node):
        self._comboBox.setCurrentIndex(max(0, self._comboBox.findData(node.GetID()) if node else 0))
        if node is not self._node:
            self._node = node
            self.currentNodeChanged[object].emit(node)
            self.currentNodeChanged[bool].emit(node is not None)
            self.currentNodeIDChanged.emit(node.GetID() if node else "")

    def currentNode(self):
        return self._node

    def setCurrentNode(self, node):
        if self._scene is not None and self._scene.IsBatchProcessing():
            self._requestedNode = node
            return
        self._select(node if node in self._nodes() else None)

    def setCurrentNodeID(self, nodeID):
        self.setCurrentNode(self._scene.GetNodeByID(nodeID) if self._scene and nodeID else None)

    currentNodeID = Property(str, lambda self: self._node.GetID() if self._node else "", setCurrentNodeID)

    def addNode(self, nodeType=None):
        """What the menu's "Create new ..." does."""
        node = self._scene.AddNewNodeByClass(nodeType or self.nodeTypes[0], self.baseName)
        self.setCurrentNode(node)
        self.nodeAddedByUser.emit(node)
        return node


@standIn
class qMRMLCheckableNodeComboBox(QtWidgets.QWidget, _NodeList):
    """Selects any number of nodes of the scene."""

    checkedNodesChanged = Signal()

    nodeTypes = storedProperty("QStringList", "nodeTypes", [], onChange="_refresh")
    hideChildNodeTypes = storedProperty("QStringList", "hideChildNodeTypes", [], onChange="_refresh")
    showChildNodeTypes = storedProperty(bool, "showChildNodeTypes", True, onChange="_refresh")
    showHidden = storedProperty(bool, "showHidden", False, onChange="_refresh")
    noneEnabled = storedProperty(bool, "noneEnabled", False)
    addEnabled = storedProperty(bool, "addEnabled", True)
    removeEnabled = storedProperty(bool, "removeEnabled", True)

    def __init__(self, parent=None):
        super().__init__(parent)
        self._scene, self._attributes, self._observerTags = None, {}, []
        self._filterModel = _FilterModel(self)
        self._model = QtGui.QStandardItemModel(0, 1, self)
        self._comboBox = QtWidgets.QComboBox(self)
        self._comboBox.setModel(self._model)
        self._comboBox.setSizePolicy(QtWidgets.QSizePolicy.Expanding, QtWidgets.QSizePolicy.Fixed)
        rowLayout(self, self._comboBox)
        self._model.itemChanged.connect(lambda item: self.checkedNodesChanged.emit())

    def setMRMLScene(self, scene):
        self._listenToScene(scene)
        self._refresh()

    def _refresh(self):
        checked = {node.GetID() for node in self.checkedNodes()}
        self._model.blockSignals(True)
        self._model.clear()
        for node in self._nodes():
            item = QtGui.QStandardItem(node.GetName())
            item.setData(node.GetID(), QtCore.Qt.UserRole)
            item.setCheckable(True)
            item.setCheckState(QtCore.Qt.Checked if node.GetID() in checked else QtCore.Qt.Unchecked)
            self._model.appendRow(item)
        self._model.blockSignals(False)
        if {node.GetID() for node in self.checkedNodes()} != checked:
            self.checkedNodesChanged.emit()

    def _items(self):
        return [self._model.item(row) for row in range(self._model.rowCount())]

    def checkedNodes(self):
        checked = [item for item in self._items() if item.checkState() == QtCore.Qt.Checked]
        nodes = [self._scene.GetNodeByID(item.data(QtCore.Qt.UserRole)) for item in checked]
        return tuple(node for node in nodes if node is not None)  # PythonQt turns C++ lists into tuples

    def setCheckState(self, node, state):
        for item in self._items():
            if item.data(QtCore.Qt.UserRole) == node.GetID():
                item.setCheckState(state)

    def checkState(self, node):
        return QtCore.Qt.Checked if node in self.checkedNodes() else QtCore.Qt.Unchecked
