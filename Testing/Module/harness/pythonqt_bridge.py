"""Makes PySide6 behave like PythonQt, the Python binding inside 3D Slicer, and offers it as module `qt`.

What is bridged:

- a Qt property is an attribute: `label.text` is a str, so that `label.text()` raises, as it does in Slicer
- `object.connect("signal(types)", function)` and `object.disconnect(...)`; a signal that does not exist raises
- assigning to an attribute that the class lacks raises AttributeError (only Python subclasses may add attributes)
- `object.name`, `object.className()`, `object.delete()`; file dialogs return the file name only
"""

import functools
import inspect
import re
import sys
import types

import shiboken6
from PySide6 import QtCore, QtGui, QtWidgets

try:  # An extra of PySide6 that PySide6-Essentials has too, but not every Linux distribution's build of it.
    from PySide6 import QtUiTools
except ImportError as error:  # pragma: no cover
    raise ImportError("The harness needs QtUiTools: pip install PySide6-Essentials==6.11.3") from error

_QT_MODULES = (QtCore, QtGui, QtWidgets, QtUiTools)

# C++ calls these virtual functions through the Python class, where a property must not hide them.
_VIRTUAL_GETTERS = {"sizeHint", "minimumSizeHint"}

# Stand-in widgets are Python classes that play C++ ones: module code may not add attributes to them either.
_classesThatPlayCpp = set()


def install():
    """Patch PySide6's classes (once) and return the module `qt`."""
    if "qt" in sys.modules:
        return sys.modules["qt"]
    qt = types.ModuleType("qt", "Qt as PythonQt shows it.")
    qtClasses = []
    for module in _QT_MODULES:
        for name in dir(module):
            if not name.startswith("Q"):
                continue
            item = getattr(module, name)
            setattr(qt, name, item)
            if isinstance(item, type) and issubclass(item, QtCore.QObject):
                qtClasses.append(item)
    _patchAttributeAccess(qtClasses)
    for qtClass in sorted(qtClasses, key=lambda qtClass: len(qtClass.__mro__)):
        _turnPropertiesIntoAttributes(qtClass)
    _addPythonQtMethods()
    _returnFirstValueOnly(QtWidgets.QFileDialog, "getOpenFileName", "getSaveFileName", "getOpenFileNames")
    _returnFirstValueOnly(QtWidgets.QInputDialog, "getText", "getInt", "getDouble", "getItem")
    sys.modules["qt"] = qt
    return qt


def playsCpp(widgetClass):
    """Class decorator: instances refuse new attributes from outside, except private ones (leading underscore)."""
    _classesThatPlayCpp.add(widgetClass)
    return widgetClass


def _turnPropertiesIntoAttributes(qtClass):
    metaObject = qtClass.staticMetaObject
    for index in range(metaObject.propertyOffset(), metaObject.propertyCount()):
        qtProperty = metaObject.property(index)
        name = qtProperty.name()
        if name in _VIRTUAL_GETTERS:
            continue
        attribute = _attributeFor(qtClass, name, qtProperty.isWritable())
        existing = inspect.getattr_static(qtClass, name, None)
        isStaticFunction = isinstance(existing, staticmethod | types.BuiltinFunctionType)
        if isStaticFunction or (qtClass.__name__, name) == ("QTimer", "singleShot"):
            attribute = _StaticFunctionAndProperty(getattr(qtClass, name), attribute)
        setattr(qtClass, name, attribute)


def _attributeFor(qtClass, name, isWritable):
    capitalised = name[0].upper() + name[1:]
    getter = inspect.getattr_static(qtClass, name, None)
    if not inspect.ismethoddescriptor(getter) or isinstance(getter, staticmethod):
        getter = getattr(qtClass, "is" + capitalised, None)
    if getter is None or isinstance(getter, QtCore.Signal):

        def getter(self):
            return QtCore.QObject.property(self, name)

    setter = getattr(qtClass, "set" + capitalised, None) if isWritable else None
    if setter is None and isWritable:

        def setter(self, value):
            QtCore.QObject.setProperty(self, name, value)

    return property(
        lambda self: getter(self), (lambda self, value: setter(self, value)) if setter else None, doc=f"Qt's {name}"
    )


class _StaticFunctionAndProperty:
    """`QTimer.singleShot` is a static function of the class and a property of its objects."""

    def __init__(self, function, attribute):
        self.function, self.attribute = function, attribute

    def __get__(self, instance, owner=None):
        return self.function if instance is None else self.attribute.__get__(instance, owner)

    def __set__(self, instance, value):
        self.attribute.__set__(instance, value)


def _patchAttributeAccess(qtClasses):
    """PySide6's classes each answer attribute access themselves, before Python looks at the class."""
    qtObject = QtCore.QObject
    qtConnect, qtDisconnect = qtObject.connect, qtObject.disconnect

    def connect(self, *arguments):
        if len(arguments) == 2 and _isSignature(arguments[0]) and callable(arguments[1]):
            return bool(_signal(self, arguments[0]).connect(arguments[1]))
        return qtConnect(self, *arguments)

    def disconnect(self, *arguments):
        if arguments and _isSignature(arguments[0]):
            return bool(_signal(self, arguments[0]).disconnect(*arguments[1:2]))
        return qtDisconnect(self, *arguments)

    qtObject.connect, qtObject.disconnect = connect, disconnect
    own = {"connect": connect, "disconnect": disconnect}
    # Python refuses to call any other class's __setattr__ once the Qt classes' own are replaced.
    shibokenObject = next(base for base in qtObject.__mro__ if base.__module__ == "Shiboken")

    for qtClass in qtClasses:
        if "__getattribute__" in qtClass.__dict__:

            def getAttribute(self, name, original=qtClass.__getattribute__):
                function = own.get(name)
                return original(self, name) if function is None else types.MethodType(function, self)

            qtClass.__getattribute__ = getAttribute
        if "__setattr__" in qtClass.__dict__:

            def setAttribute(self, name, value):
                current = _classAttribute(type(self), name)
                if isinstance(current, QtCore.Property):
                    current.fset(self, value)
                # PySide6 keeps a signal as an attribute of the object after its first use.
                elif _mayAssign(type(self), name) or isinstance(value, QtCore.SignalInstance):
                    shibokenObject.__setattr__(self, name, value)
                elif name.encode() in [bytes(dynamic.data()) for dynamic in self.dynamicPropertyNames()]:
                    self.setProperty(name, value)
                else:
                    raise AttributeError(
                        f"'{name}' does not exist on {type(self).__name__} and creating new attributes on C++ objects "
                        "is not allowed"
                    )

            qtClass.__setattr__ = setAttribute


@functools.cache
def _classAttribute(objectClass, name):
    return inspect.getattr_static(objectClass, name, None)


@functools.cache
def _mayAssign(objectClass, name):
    playsCppClass = objectClass in _classesThatPlayCpp
    if not playsCppClass and not objectClass.__module__.startswith("PySide6."):
        return True  # a Python subclass, as module code may make: it has a __dict__ in PythonQt too
    if playsCppClass and name.startswith("_"):
        return True
    return hasattr(type(_classAttribute(objectClass, name)), "__set__")


def _isSignature(text):
    return isinstance(text, str) and not text[:1].isdigit()


def _signal(sender, signature):
    """The bound signal for a C++ signature, like "clicked(bool)" or "currentNodeChanged(vtkMRMLNode*)"."""
    # Stand-in widgets send VTK objects as Python objects; Qt's name of that type is PyObject.
    qtSignature = re.sub(r"vtk\w+\s*\*", "PyObject", signature)
    match = re.fullmatch(r"\s*(\w+)\s*(?:\((.*)\))?\s*", qtSignature)
    metaObject = sender.metaObject()
    if match is None:
        raise ValueError(f"{signature!r} is no signal signature")
    name, types_ = match.groups()
    if types_ is None:
        return getattr(sender, name)
    normalised = bytes(QtCore.QMetaObject.normalizedSignature(qtSignature.strip()).data()).decode()
    if metaObject.indexOfSignal(normalised) < 0:
        raise ValueError(f"signal '{signature}' does not exist on {metaObject.className()}")
    signal = getattr(sender, name)
    argumentTypes = tuple(part for part in normalised[len(name) + 1 : -1].split(",") if part)
    try:
        return signal[argumentTypes[0] if len(argumentTypes) == 1 else argumentTypes]
    except (KeyError, IndexError, TypeError):
        return signal  # the only overload


def _addPythonQtMethods():
    qtObject = QtCore.QObject
    qtObject.className = lambda self: self.metaObject().className()
    qtObject.delete = lambda self: shiboken6.delete(self)
    qtObject.name = qtObject.objectName
    device, qtWrite = QtCore.QIODevice, QtCore.QIODevice.write
    device.write = lambda self, data: qtWrite(self, data.encode() if isinstance(data, str) else data)


def _returnFirstValueOnly(dialogClass, *names):
    for name in names:
        function = getattr(dialogClass, name)

        def firstValue(*arguments, _function=function, **keywords):
            return _function(*arguments, **keywords)[0]

        setattr(dialogClass, name, staticmethod(firstValue))
