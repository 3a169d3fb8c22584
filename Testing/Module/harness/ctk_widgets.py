"""Stand-ins of ctk's widgets, with their C++ names, signals and size policies."""

from pathlib import Path

from PySide6 import QtCore, QtWidgets
from PySide6.QtCore import Property, Signal

from .widgets import forwardedProperty, rowLayout, standIn, storedProperty


@standIn
class ctkCollapsibleButton(QtWidgets.QAbstractButton):
    """A titled section whose children are hidden while it is collapsed.

    As in ctk, a child that was hidden by itself stays so when the section opens, and what is shown or hidden while the
    section is collapsed counts later. Its size hint is its smallest width, unless the `.ui` file says otherwise.
    """

    contentsCollapsed = Signal(bool)

    def __init__(self, *arguments):
        title = arguments[0] if arguments and isinstance(arguments[0], str) else ""
        parent = arguments[-1] if arguments and isinstance(arguments[-1], QtWidgets.QWidget) else None
        super().__init__(parent)
        self._isCollapsed = self._isForcing = False
        self.setText(title)
        self.setCheckable(True)
        self.setChecked(True)
        self.setSizePolicy(QtWidgets.QSizePolicy.Minimum, QtWidgets.QSizePolicy.Preferred)
        self.setContentsMargins(0, self._titleSize().height(), 0, 0)
        self.toggled.connect(lambda checked: self._collapse(not checked))

    def _titleSize(self):
        option = QtWidgets.QStyleOptionButton()
        option.initFrom(self)
        style = self.style()
        indicator = style.pixelMetric(QtWidgets.QStyle.PM_IndicatorWidth, option, self)
        gap = style.pixelMetric(QtWidgets.QStyle.PM_CheckBoxLabelSpacing, option, self)
        text = self.fontMetrics().size(QtCore.Qt.TextShowMnemonic, self.text or "XXXX")
        content = QtCore.QSize(indicator + gap + text.width(), max(indicator, text.height()))
        return style.sizeFromContents(QtWidgets.QStyle.CT_PushButton, option, content, self)

    def _setCollapsed(self, collapsed):
        self.setChecked(not collapsed)

    def _collapse(self, collapsed):
        if collapsed == self._isCollapsed:
            return
        self._isCollapsed = collapsed
        self.setMaximumHeight(self.sizeHint().height() if collapsed else 16777215)
        for child in self.children():
            if isinstance(child, QtWidgets.QWidget):
                self._showAsWanted(child)
        self.updateGeometry()
        self.contentsCollapsed.emit(collapsed)

    def _showAsWanted(self, child):
        """Show a child if the section is open and nobody has hidden it; that counts as no wish of anybody's."""
        self._isForcing = True
        child.setVisible(not self._isCollapsed and child.property("visibilityToParent") is not False)
        if child.property("visibilityToParent") is not False:
            child.setAttribute(QtCore.Qt.WA_WState_ExplicitShowHide, False)
        self._isForcing = False

    collapsed = Property(bool, lambda self: self._isCollapsed, _setCollapsed)
    flat = storedProperty(bool, "flat", False)
    collapsedHeight = storedProperty(int, "collapsedHeight", 14)

    def childEvent(self, event):
        child = event.child()
        if event.added() and isinstance(child, QtWidgets.QWidget):
            child.installEventFilter(self)
            if child.testAttribute(QtCore.Qt.WA_WState_ExplicitShowHide) and child.isHidden():
                child.setProperty("visibilityToParent", False)
            if self._isCollapsed:
                self._showAsWanted(child)
        super().childEvent(event)

    def showEvent(self, event):
        """Qt has just shown the children."""
        if self._isCollapsed:
            for child in self.children():
                if isinstance(child, QtWidgets.QWidget):
                    self._showAsWanted(child)
        super().showEvent(event)

    def eventFilter(self, child, event):
        wishes = {QtCore.QEvent.ShowToParent: True, QtCore.QEvent.HideToParent: False}
        wish = wishes.get(event.type())
        if wish is not None and not self._isForcing:
            child.setProperty("visibilityToParent", wish)
            if wish and self._isCollapsed:
                self._showAsWanted(child)
        return False

    def setVisible(self, visible):
        wasForcing, self._isForcing = self._isForcing, True
        super().setVisible(visible)
        self._isForcing = wasForcing

    def changeEvent(self, event):
        if event.type() in (QtCore.QEvent.FontChange, QtCore.QEvent.StyleChange):
            self.setContentsMargins(0, self._titleSize().height(), 0, 0)
            if self._isCollapsed:
                self.setMaximumHeight(self.sizeHint().height())
        super().changeEvent(event)

    def sizeHint(self):
        closed = self._titleSize() + QtCore.QSize(0, self.collapsedHeight)
        return closed if self._isCollapsed or self.layout() is None else closed.expandedTo(self.layout().sizeHint())

    def minimumSizeHint(self):
        if self._isCollapsed:
            return self.sizeHint()
        return self._titleSize() if self.layout() is None else self._titleSize().expandedTo(self.layout().minimumSize())

    def paintEvent(self, event):
        painter = QtWidgets.QStylePainter(self)
        height = self._titleSize().height()
        button = QtWidgets.QStyleOptionButton()
        button.initFrom(self)
        button.rect = QtCore.QRect(0, 0, self.width, height)
        painter.drawControl(QtWidgets.QStyle.CE_PushButtonBevel, button)
        arrow = QtWidgets.QStyleOption()
        arrow.initFrom(self)
        arrow.rect = QtCore.QRect(6, (height - 14) // 2, 14, 14)
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
    """An editable combo box for a file's or folder's path, with a history and a browse button.

    As in ctk: every character that is typed is told, but not that the field was emptied (`validInputChanged` is);
    setting the key, which the `.ui` file does, fills an empty field with the last path of the history.
    """

    Dirs, Files, Drives, NoSymLinks = 0x1, 0x2, 0x4, 0x8
    Readable, Writable, Executable, Hidden = 0x10, 0x20, 0x40, 0x100
    MOST = 5
    """Paths of the history that are offered."""

    currentPathChanged = Signal(str)
    validInputChanged = Signal(bool)

    def __init__(self, parent=None):
        super().__init__(parent)
        self._comboBox = QtWidgets.QComboBox(self)
        self._comboBox.setEditable(True)
        self._comboBox.setInsertPolicy(QtWidgets.QComboBox.NoInsert)
        self._comboBox.setSizeAdjustPolicy(QtWidgets.QComboBox.AdjustToMinimumContentsLengthWithIcon)
        self._edit = self._comboBox.lineEdit()
        browse = QtWidgets.QToolButton(self)
        browse.setText("...")
        rowLayout(self, self._comboBox, browse)
        self.setSizePolicy(QtWidgets.QSizePolicy.Expanding, QtWidgets.QSizePolicy.Fixed)
        self._settingKey, self._isValid = "", False
        self._edit.textChanged.connect(self._tell)

    def _tell(self, text):
        wasValid, self._isValid = self._isValid, bool(text)
        if text:
            self.currentPathChanged.emit(text)
        if self._isValid != wasValid:
            self.validInputChanged.emit(self._isValid)

    def comboBox(self):
        return self._comboBox

    def _setSettingKey(self, key):
        self._settingKey = key
        self.retrieveHistory()

    def _history(self):
        paths = QtCore.QSettings().value(f"ctkPathLineEdit/{self._settingKey or self.objectName}") or []
        return [paths] if isinstance(paths, str) else list(paths)

    def retrieveHistory(self):
        path = self.currentPath
        blocked = self.blockSignals(True)
        self._comboBox.clear()
        self._comboBox.addItems(self._history()[: self.MOST])
        self.currentPath = path
        self.blockSignals(blocked)
        if not path:
            self._comboBox.setCurrentIndex(0)
            self._edit.setText(self._comboBox.itemText(0))

    def addCurrentPathToHistory(self):
        if not self.currentPath:
            return
        history = [self.currentPath, *(path for path in self._history() if path != self.currentPath)]
        QtCore.QSettings().setValue(f"ctkPathLineEdit/{self._settingKey or self.objectName}", history)
        blocked = self._comboBox.blockSignals(True)
        self._comboBox.clear()
        self._comboBox.addItems(history[: self.MOST])
        self._comboBox.blockSignals(blocked)

    currentPath = Property(str, lambda self: self._edit.text, lambda self, path: self._edit.setText(path or ""))
    filters = storedProperty(int, "filters", Dirs | Files)
    nameFilters = storedProperty("QStringList", "nameFilters", [])
    settingKey = Property(str, lambda self: self._settingKey, _setSettingKey)
    showBrowseButton = storedProperty(bool, "showBrowseButton", True)
    showHistoryButton = storedProperty(bool, "showHistoryButton", True)


class _ElidedButton(QtWidgets.QPushButton):
    """As ctkPushButton with Qt::ElideMiddle: a long text needs no width."""

    def minimumSizeHint(self):
        return QtCore.QSize(60, super().sizeHint().height())


@standIn
class ctkDirectoryButton(QtWidgets.QWidget):
    """A button that shows a folder and lets the user choose another; the folder is always absolute, "" means here."""

    directoryChanged = Signal(str)
    directorySelected = Signal(str)

    def __init__(self, parent=None):
        super().__init__(parent)
        self._directory = str(Path.cwd())
        self._button = _ElidedButton(self._directory, self)
        self._button.setSizePolicy(QtWidgets.QSizePolicy.Expanding, QtWidgets.QSizePolicy.Fixed)
        rowLayout(self, self._button)
        self.setSizePolicy(QtWidgets.QSizePolicy.Expanding, QtWidgets.QSizePolicy.Fixed)

    def _setDirectory(self, directory):
        directory = QtCore.QDir(directory or ".").absolutePath()
        isNew, self._directory = directory != self._directory, directory
        self._button.setText(self._text or directory)
        self.directorySelected.emit(directory)
        if isNew:
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
        rowLayout(self, self._slider, self._spinBox)
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
