"""Stand-ins of the ctk and qMRML widgets that MetaSSL's `.ui` file may use, with their C++ names and signals.

A widget class that is missing here is an error when a `.ui` file names it: add it, as small as can be.
"""

import weakref
from pathlib import Path

import shiboken6
from PySide6 import QtCore, QtGui, QtWidgets
from PySide6.QtCore import Property, Signal

from . import pythonqt_bridge

STAND_INS = {}


def standIn(widgetClass):
    """Class decorator: registers the stand-in and gives each of its Qt properties the usual `setX` method."""
    for name, item in list(vars(widgetClass).items()):
        setterName = "set" + name[0].upper() + name[1:]
        if isinstance(item, Property) and not hasattr(widgetClass, setterName):
            setattr(widgetClass, setterName, lambda self, value, name=name: setattr(self, name, value))
    STAND_INS[widgetClass.__name__] = widgetClass
    return pythonqt_bridge.playsCpp(widgetClass)


def storedProperty(propertyType, name, default, onChange=None):
    """A Qt property that only remembers its value and, when it changes, calls the method named `onChange`."""
    key = "_" + name

    def get(self):
        return getattr(self, key, default)

    def set_(self, value):
        if get(self) != value:
            setattr(self, key, value)
            if onChange:
                getattr(self, onChange)()

    return Property(propertyType, get, set_)


def forwardedProperty(propertyType, child, name):
    """A Qt property that is the same property of an inner widget."""

    def set_(self, value):
        setattr(getattr(self, child), name, propertyType(value))

    return Property(propertyType, lambda self: getattr(getattr(self, child), name), set_)


def _rowLayout(widget, *children):
    layout = QtWidgets.QHBoxLayout(widget)
    layout.setContentsMargins(0, 0, 0, 0)
    for child in children:
        layout.addWidget(child)


# ---- ctk -----------------------------------------------------------------------------------------------------------


@standIn
class ctkCollapsibleButton(QtWidgets.QAbstractButton):
    """A titled section whose children are hidden while it is collapsed."""

    contentsCollapsed = Signal(bool)

    def __init__(self, *arguments):
        title = arguments[0] if arguments and isinstance(arguments[0], str) else ""
        parent = arguments[-1] if arguments and isinstance(arguments[-1], QtWidgets.QWidget) else None
        super().__init__(parent)
        self._isCollapsed = False
        self._titleHeight = 26
        self.setText(title)
        self.setCheckable(True)
        self.setChecked(True)
        self.setContentsMargins(4, self._titleHeight + 2, 4, 4)
        self.toggled.connect(lambda checked: self._setCollapsed(not checked))

    def _setCollapsed(self, collapsed):
        if collapsed == self._isCollapsed:
            return
        self._isCollapsed = collapsed
        for child in self.children():
            if isinstance(child, QtWidgets.QWidget):
                child.setVisible(not collapsed)
        self.setMaximumHeight(self._titleHeight if collapsed else 16777215)
        self.updateGeometry()
        self.update()
        self.setChecked(not collapsed)
        self.contentsCollapsed.emit(collapsed)

    collapsed = Property(bool, lambda self: self._isCollapsed, _setCollapsed)
    flat = storedProperty(bool, "flat", False)
    collapsedHeight = storedProperty(int, "collapsedHeight", 10)

    def childEvent(self, event):
        if event.added() and event.child().isWidgetType() and self._isCollapsed:
            event.child().setVisible(False)
        super().childEvent(event)

    def sizeHint(self):
        title = QtCore.QSize(160, self._titleHeight)
        layout = self.layout()
        return title if self._isCollapsed or layout is None else title.expandedTo(layout.totalSizeHint())

    def minimumSizeHint(self):
        title = QtCore.QSize(160, self._titleHeight)
        layout = self.layout()
        return title if self._isCollapsed or layout is None else title.expandedTo(layout.totalMinimumSize())

    def paintEvent(self, event):
        painter = QtWidgets.QStylePainter(self)
        button = QtWidgets.QStyleOptionButton()
        button.initFrom(self)
        button.rect = QtCore.QRect(0, 0, self.width, self._titleHeight)
        painter.drawControl(QtWidgets.QStyle.CE_PushButtonBevel, button)
        arrow = QtWidgets.QStyleOption()
        arrow.initFrom(self)
        arrow.rect = QtCore.QRect(6, 6, 14, 14)
        style = QtWidgets.QStyle
        direction = style.PE_IndicatorArrowRight if self._isCollapsed else style.PE_IndicatorArrowDown
        painter.drawPrimitive(direction, arrow)
        painter.drawText(button.rect.adjusted(26, 0, 0, 0), QtCore.Qt.AlignVCenter, self.text)
        painter.end()


@standIn
class ctkMessageBox(QtWidgets.QMessageBox):
    """The message box of `slicer.util.messageBox`, which opens only outside of testing mode."""

    dontShowAgainSettingsKey = storedProperty(str, "dontShowAgainSettingsKey", "")


@standIn
class ctkPathLineEdit(QtWidgets.QWidget):
    """A line edit for a file's or folder's path, with a browse button."""

    Dirs, Files, Drives, NoSymLinks = 0x1, 0x2, 0x4, 0x8
    Readable, Writable, Executable, Hidden = 0x10, 0x20, 0x40, 0x100

    currentPathChanged = Signal(str)
    validInputChanged = Signal(bool)

    def __init__(self, parent=None):
        super().__init__(parent)
        self._edit = QtWidgets.QLineEdit(self)
        browse = QtWidgets.QToolButton(self)
        browse.setText("...")
        _rowLayout(self, self._edit, browse)
        self._edit.textChanged.connect(self.currentPathChanged)

    currentPath = Property(str, lambda self: self._edit.text, lambda self, path: self._edit.setText(path or ""))
    filters = storedProperty(int, "filters", Dirs | Files)
    nameFilters = storedProperty("QStringList", "nameFilters", [])
    settingKey = storedProperty(str, "settingKey", "")
    showBrowseButton = storedProperty(bool, "showBrowseButton", True)
    showHistoryButton = storedProperty(bool, "showHistoryButton", True)

    def addCurrentPathToHistory(self):
        """The history is not imitated."""


@standIn
class ctkDirectoryButton(QtWidgets.QWidget):
    """A button that shows a folder and lets the user choose another; the folder is always absolute."""

    directoryChanged = Signal(str)
    directorySelected = Signal(str)

    def __init__(self, parent=None):
        super().__init__(parent)
        self._directory = str(Path.cwd())
        self._button = QtWidgets.QPushButton(self._directory, self)
        _rowLayout(self, self._button)

    def _setDirectory(self, directory):
        directory = QtCore.QDir(directory).absolutePath()
        if directory != self._directory:
            self._directory = directory
            self._button.setText(self._text or directory)
            self.directoryChanged.emit(directory)

    directory = Property(str, lambda self: self._directory, _setDirectory)

    _text = ""

    def _setText(self, text):
        self._text = text
        self._button.setText(text or self._directory)

    text = Property(str, lambda self: self._text, _setText)
    caption = storedProperty(str, "caption", "")


@standIn
class ctkSliderWidget(QtWidgets.QWidget):
    """A slider and a spin box for one float."""

    valueChanged = Signal(float)
    valueIsChanging = Signal(float)

    value = forwardedProperty(float, "_spinBox", "value")
    minimum = forwardedProperty(float, "_spinBox", "minimum")
    maximum = forwardedProperty(float, "_spinBox", "maximum")
    singleStep = forwardedProperty(float, "_spinBox", "singleStep")
    decimals = forwardedProperty(int, "_spinBox", "decimals")
    prefix = forwardedProperty(str, "_spinBox", "prefix")
    suffix = forwardedProperty(str, "_spinBox", "suffix")
    pageStep = storedProperty(float, "pageStep", 10.0)
    tickInterval = storedProperty(float, "tickInterval", 0.0)
    tracking = storedProperty(bool, "tracking", True)
    spinBoxVisible = storedProperty(bool, "spinBoxVisible", True)

    def __init__(self, parent=None):
        super().__init__(parent)
        self._slider = QtWidgets.QSlider(QtCore.Qt.Horizontal, self)
        self._slider.setRange(0, 1000)
        self._spinBox = QtWidgets.QDoubleSpinBox(self)
        self._spinBox.setRange(0, 99)
        _rowLayout(self, self._slider, self._spinBox)
        self._slider.sliderMoved.connect(self._takeSlider)
        self._spinBox.valueChanged.connect(self._moveSlider)
        self._spinBox.valueChanged.connect(self.valueChanged)

    def _moveSlider(self, value):
        span = (self.maximum - self.minimum) or 1
        self._slider.setValue(round(1000 * (value - self.minimum) / span))

    def _takeSlider(self, position):
        self.value = self.minimum + (self.maximum - self.minimum) * position / 1000

    def setRange(self, minimum, maximum):
        self.minimum, self.maximum = minimum, maximum
        self._moveSlider(self.value)


# ---- qMRML: they know the scene ------------------------------------------------------------------------------------


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
        return [node for node in every if self._offers(node)]

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

    def __init__(self, parent=None):
        super().__init__(parent)
        self._scene, self._node, self._attributes, self._observerTags = None, None, {}, []
        self._requestedNode = None  # asked for while the scene was being loaded
        self._comboBox = QtWidgets.QComboBox(self)
        self._comboBox.setSizePolicy(QtWidgets.QSizePolicy.Expanding, QtWidgets.QSizePolicy.Fixed)
        _rowLayout(self, self._comboBox)
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
        self._model = QtGui.QStandardItemModel(0, 1, self)
        self._comboBox = QtWidgets.QComboBox(self)
        self._comboBox.setModel(self._model)
        self._comboBox.setSizePolicy(QtWidgets.QSizePolicy.Expanding, QtWidgets.QSizePolicy.Fixed)
        _rowLayout(self, self._comboBox)
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
