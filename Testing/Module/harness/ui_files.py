"""A QUiLoader that builds the stand-in widgets of an unmodified `.ui` file."""

import functools
import operator
import xml.etree.ElementTree as ElementTree

from PySide6 import QtCore, QtUiTools, QtWidgets

from .widgets import STAND_INS


class UiLoader(QtUiTools.QUiLoader):
    """Loads `.ui` files; a ctk, qMRML or qSlicer class without a stand-in is an error."""

    def createWidget(self, className, parent=None, name=""):
        if className in STAND_INS:
            widget = STAND_INS[className](parent)
            widget.setObjectName(name)
            return widget
        return super().createWidget(className, parent, name)

    def load(self, file, parent=None):
        path = file.fileName() if isinstance(file, QtCore.QFile) else file
        tree = ElementTree.parse(path)
        for widget in tree.iter("widget"):
            className = widget.get("class")
            if className.startswith(("ctk", "qMRML", "qSlicer")) and className not in STAND_INS:
                raise RuntimeError(f"{path} uses {className}, of which the harness has no stand-in (see widgets.py)")
        _replaceFlagsByNumbers(tree)
        sceneConnections = _takeSceneConnections(tree)

        buffer = QtCore.QBuffer()
        buffer.setData(ElementTree.tostring(tree.getroot()))
        buffer.open(QtCore.QIODevice.ReadOnly)
        root = super().load(buffer, parent)
        for senderName, signal, receiverName, slot in sceneConnections:
            sender, receiver = _find(root, senderName), _find(root, receiverName)
            if sender is None or receiver is None:
                raise RuntimeError(f"{path}: a connection names a missing widget: {senderName} -> {receiverName}")
            getattr(sender, signal.partition("(")[0]).connect(getattr(receiver, slot.partition("(")[0]))
        return root


def _replaceFlagsByNumbers(tree):
    """Python properties cannot tell Qt the names of their flags, such as `ctkPathLineEdit::Files`."""
    for widget in tree.iter("widget"):
        if widget.get("class") not in STAND_INS:
            continue
        for property_ in widget.findall("property"):
            flags = next((child for child in property_ if child.tag in ("set", "enum")), None)
            if flags is not None:
                values = [_valueOf(*flag.split("::")) for flag in flags.text.split("|")]
                if None not in values:
                    flags.tag, flags.text = "number", str(functools.reduce(operator.or_, values))


def _valueOf(className, name):
    """The number of a flag of a stand-in, or of a class of Qt whose flags stand-ins have as properties."""
    if className in STAND_INS:
        return getattr(STAND_INS[className], name)
    return getattr(QtWidgets.QComboBox, name).value if className == "QComboBox" else None


def _takeSceneConnections(tree):
    """Take out the connections of `mrmlSceneChanged(vtkMRMLScene*)`, a type that Qt does not know."""
    taken = []
    for connections in tree.iter("connections"):
        for connection in list(connections):
            names = [connection.findtext(part) for part in ("sender", "signal", "receiver", "slot")]
            if "vtkMRMLScene" in names[1]:
                connections.remove(connection)
                taken.append(names)
    return taken


def _find(root, name):
    return root if root.objectName == name else root.findChild(QtWidgets.QWidget, name)
