"""What the stand-ins of ctk's and qMRML's widgets have in common, and the register of all: name -> class.

A widget class that is missing here is an error when a `.ui` file names it: add it to `ctk_widgets` or `mrml_widgets`,
as small as can be, with its C++ names, signals and size policy.
"""

from PySide6 import QtWidgets
from PySide6.QtCore import Property

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


def rowLayout(widget, *children):
    layout = QtWidgets.QHBoxLayout(widget)
    layout.setContentsMargins(0, 0, 0, 0)
    for child in children:
        layout.addWidget(child)
