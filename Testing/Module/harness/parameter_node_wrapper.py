"""Stand-in of `slicer.parameterNodeWrapper`: typed access to a parameter node, and its two-way binding to widgets.

Field types: bool, int, float, str, pathlib.Path, enum.Enum subclasses and MRML node classes, plain or `Annotated`.
Slicer's own also takes lists, dictionaries, tuples, unions and parameter packs: here those raise.

Slicer's behaviour that surprises, and is kept:

- validators check the defaults too, when the wrapper is made; a value of a wrong type raises TypeError, not ValueError
- widgets match by their exact class: a subclass of QLineEdit is refused, ctkCheckBox and ctkComboBox are too
  (newer versions of Slicer take some of ctk's; what is refused here is safe to avoid)
- numeric widgets lose the range that the .ui file gives them: the annotation's range, or "unbounded", replaces it
- QComboBox needs `Choice` (or an Enum): its items are removed and replaced by `str(choice)` (the Enum's `label()` or
  name), and it is read by index, so that `setItemText` after `connectGui` may show another text
- each change of the node writes every connected widget
- values are cached and read again when the node says that it was modified. A scene file's parameter node says so
  before the nodes that it refers to exist, and never again: after loading, node parameters are None until a new
  wrapper is made (so a module should make one at EndImportEvent)
- in Slicer 5.10, `disconnectGui` leaves its observer on the node, which keeps the wrapper alive: set
  `DISCONNECT_REMOVES_OBSERVER = False` to test with that
"""

import enum
import inspect
import pathlib
import typing
import weakref

import ctk
import qt
import slicer
import vtk

__all__ = [
    "Choice",
    "Decimals",
    "Default",
    "Exclude",
    "Maximum",
    "Minimum",
    "SingleStep",
    "Validator",
    "WithinRange",
    "isParameterNodeWrapper",
    "parameterNodeWrapper",
]

DISCONNECT_REMOVES_OBSERVER = True

_PROPERTY = "SlicerParameterName"

# ---- annotations ---------------------------------------------------------------------------------------------------


class Default:
    """Annotation: the default value, or a function that makes it."""

    def __init__(self, value=None, *, generator=None):
        self._value, self._generator = value, generator

    @property
    def value(self):
        return self._generator() if self._generator else self._value


class Decimals:
    """Annotation: how many decimals a spin box or slider shows."""

    def __init__(self, value):
        self.value = value


class SingleStep:
    """Annotation: how far one click moves a spin box or slider."""

    def __init__(self, value):
        self.value = value


class Validator:
    """Base class of the annotations that check values."""

    def validate(self, value):
        raise NotImplementedError


class WithinRange(Validator):
    def __init__(self, minimum, maximum):
        self.minimum, self.maximum = minimum, maximum

    def validate(self, value):
        if not self.minimum <= value <= self.maximum:
            raise ValueError(f"Value must be within range [{self.minimum}, {self.maximum}], is {value}")


class Minimum(Validator):
    def __init__(self, minimum):
        self.minimum = minimum

    def validate(self, value):
        if value < self.minimum:
            raise ValueError(f"Value must be at least {self.minimum}, is {value}")


class Maximum(Validator):
    def __init__(self, maximum):
        self.maximum = maximum

    def validate(self, value):
        if value > self.maximum:
            raise ValueError(f"Value must be at most {self.maximum}, is {value}")


class Choice(Validator):
    def __init__(self, choices):
        self.choices = choices

    def validate(self, value):
        if value not in self.choices:
            raise ValueError(f"Value must be one of {self.choices}, is {value!r}")


class Exclude(Validator):
    def __init__(self, excludedValues):
        self.excludedValues = excludedValues

    def validate(self, value):
        if value in self.excludedValues:
            raise ValueError(f"Value must not be one of {self.excludedValues}, is {value!r}")


# ---- fields: one typed value in the parameter node -----------------------------------------------------------------


class _Field:
    """One parameter: how it is checked, written to the node as text, and read back."""

    def __init__(self, name, annotatedType, classDefault):
        self.name = name
        self.annotations = list(getattr(annotatedType, "__metadata__", ()))
        self.type = typing.get_args(annotatedType)[0] if self.annotations else annotatedType
        if not isinstance(self.type, type) or not self._isSupported():
            raise Exception(f"Unable to create serializer for member {name}: {self.type} (see the harness's docstring)")
        self._default = classDefault or self.annotation(Default) or Default(self._defaultOfType())

    def _isSupported(self):
        # By the classes' names: VTK and Qt have many, MRML node classes come from several modules.
        plain = self.type in (bool, int, float, str, pathlib.Path)
        return plain or issubclass(self.type, enum.Enum) or self.isNode

    @property
    def isNode(self):
        return issubclass(self.type, slicer.vtkMRMLNode)

    def annotation(self, annotationType):
        return next((item for item in self.annotations if isinstance(item, annotationType)), None)

    def _defaultOfType(self):
        if self.isNode:
            return None
        return next(iter(self.type)) if issubclass(self.type, enum.Enum) else self.type()

    @property
    def default(self):
        return self._default.value

    def validate(self, value):
        if value is None:
            if not self.isNode:
                raise ValueError(f"{self.name}: value must not be None")
        elif not isinstance(value, (int, float) if self.type is float else self.type):
            raise TypeError(f"{self.name}: value must be of type {self.type}, is {type(value)} {value!r}")
        for annotation in self.annotations:
            if isinstance(annotation, Validator):
                annotation.validate(value)

    def write(self, node, value):
        self.validate(value)
        with slicer.util.NodeModify(node):
            if self.isNode:
                node.SetParameter(self.name, "")  # says that the parameter is set, also when it is None
                node.SetNodeReferenceID(self.name, value.GetID() if value is not None else None)
            else:
                node.SetParameter(self.name, value.name if isinstance(value, enum.Enum) else str(value))

    def read(self, node):
        if not node.HasParameter(self.name):
            self.write(node, self.default)
        if self.isNode:
            return node.GetNodeReference(self.name)
        text = node.GetParameter(self.name)
        if self.type is bool:
            return text == "True"
        return self.type[text] if issubclass(self.type, enum.Enum) else self.type(text)


# ---- widgets -------------------------------------------------------------------------------------------------------


class _Connection:
    """One parameter bound to one widget. Raises RuntimeError when Slicer would."""

    def __init__(self, field, widget):
        self.field, self.widget = field, widget
        self._callback = None
        kind = self._kind()
        self._signalName = {
            "node": "currentNodeChanged",
            "check": "stateChanged",
            "button": "toggled",
            "number": "valueChanged",
            "combo": "currentIndexChanged",
            "text": "textChanged",
            "path": "currentPathChanged",
            "directory": "directoryChanged",
        }[kind]
        self._property = {
            "check": "checked",
            "button": "checked",
            "number": "value",
            "text": "text",
            "path": "currentPath",
            "directory": "directory",
        }.get(kind)
        self._choices = None
        if kind == "node":
            widget.nodeTypes = [field.type.__name__]
        elif kind == "number":
            self._setRange()
        elif kind == "combo":
            self._fillComboBox()

    def _kind(self):
        if self.field.isNode:
            kinds = {slicer.qMRMLNodeComboBox: "node"}
        elif issubclass(self.field.type, enum.Enum):
            kinds = {qt.QComboBox: "combo"}
        else:
            kinds = {
                bool: {qt.QCheckBox: "check", qt.QPushButton: "button"},
                int: {qt.QSpinBox: "number", qt.QSlider: "number"},
                float: {qt.QDoubleSpinBox: "number", ctk.ctkSliderWidget: "number"},
                str: {qt.QLineEdit: "text"},
                pathlib.Path: {ctk.ctkPathLineEdit: "path", ctk.ctkDirectoryButton: "directory"},
            }[self.field.type]
            if self.field.type is not pathlib.Path:
                kinds = {**kinds, qt.QComboBox: "combo"}
        kind = kinds.get(type(self.widget))  # the exact class, as in Slicer
        if kind is None:
            raise RuntimeError(
                f"Unable to create GUI connector from datatype '{self.field.type}' to widget type "
                f"'{type(self.widget).__name__}' (parameter {self.field.name})"
            )
        return kind

    def _setRange(self):
        within = self.field.annotation(WithinRange)
        lowest, highest = self.field.annotation(Minimum), self.field.annotation(Maximum)
        minimum = within.minimum if within else lowest.minimum if lowest else None
        maximum = within.maximum if within else highest.maximum if highest else None
        if isinstance(self.widget, qt.QSlider | ctk.ctkSliderWidget) and None in (minimum, maximum):
            raise RuntimeError(f"A slider cannot show the unbounded parameter {self.field.name}: add WithinRange")
        unbounded = 2**31 - 1 if self.field.type is int else float("inf")
        decimals, step = self.field.annotation(Decimals), self.field.annotation(SingleStep)
        if decimals:
            self.widget.decimals = decimals.value
        if step:
            self.widget.singleStep = step.value
        self.widget.minimum = -unbounded if minimum is None else minimum
        self.widget.maximum = unbounded if maximum is None else maximum

    def _fillComboBox(self):
        if issubclass(self.field.type, enum.Enum):
            self._choices = list(self.field.type)
            label = getattr(self.field.type, "label", lambda member: member.name)
        else:
            choice = self.field.annotation(Choice)
            if choice is None:
                raise RuntimeError(f"A combo box needs the annotation Choice (parameter {self.field.name})")
            self._choices, label = choice.choices, str
        self.widget.clear()
        for choice in self._choices:
            self.widget.addItem(label(choice))

    def connect(self, callback):
        self._callback = callback
        getattr(self.widget, self._signalName).connect(self._changed)

    def disconnect(self):
        self._callback = None
        getattr(self.widget, self._signalName).disconnect(self._changed)

    def _changed(self, *signalArguments):
        if self._callback:
            self._callback()

    def read(self):
        if self.field.isNode:
            return self.widget.currentNode()
        if self._choices is not None:
            return self._choices[self.widget.currentIndex]
        value = getattr(self.widget, self._property)
        return pathlib.Path(value) if self.field.type is pathlib.Path else value

    def write(self, value):
        if self.field.isNode:
            self.widget.setCurrentNode(value)
        elif self._choices is not None:
            if value not in self._choices:
                raise ValueError(f"Unable to find value {value!r} in choices {self._choices}")
            self.widget.currentIndex = list(self._choices).index(value)
        else:
            setattr(self.widget, self._property, str(value) if self.field.type is pathlib.Path else value)


# ---- the wrapper ---------------------------------------------------------------------------------------------------


class _Wrapper:
    """The methods that the decorator adds to the class. `parameterNode` is the node underneath."""

    def __init__(self, parameterNode, prefix=None):
        if prefix:
            raise NotImplementedError("prefixes are not imitated")
        self.parameterNode = parameterNode
        self._guis = {}
        self._nextTag = 0
        self._isUpdatingGui = False
        for field in self.allParameters.values():
            if not parameterNode.HasParameter(field.name):
                field.write(parameterNode, field.default)
        self._values = {name: field.read(parameterNode) for name, field in self.allParameters.items()}
        self._beingWritten = None
        weakSelf = weakref.ref(self)  # an observer must not keep the wrapper alive
        # With equal priorities VTK calls the first observer last: others would see the old values.
        self._cacheTag = parameterNode.AddObserver(
            vtk.vtkCommand.ModifiedEvent, lambda caller, event: weakSelf() and weakSelf()._updateCache(), 1.0
        )

    def __del__(self):
        if hasattr(self, "_cacheTag"):
            self.parameterNode.RemoveObserver(self._cacheTag)

    def _updateCache(self):
        for name, field in self.allParameters.items():
            if name != self._beingWritten:
                self._values[name] = field.read(self.parameterNode)

    def _field(self, name):
        if name not in self.allParameters:
            raise ValueError(f"Cannot find a param with the given name: {name} (there are {list(self.allParameters)})")
        return self.allParameters[name]

    def getValue(self, name):
        return self._values[self._field(name).name]

    def setValue(self, name, value):
        field = self._field(name)
        outer, self._beingWritten = self._beingWritten, name
        try:
            with slicer.util.NodeModify(self.parameterNode):  # observers come after the cache is up to date
                field.write(self.parameterNode, value)
                self._values[name] = field.read(self.parameterNode)
        finally:
            self._beingWritten = outer

    def default(self, name):
        return Default(self._field(name).default)

    def connectGui(self, gui):
        """Bind the widgets that carry the dynamic property SlicerParameterName; returns a tag for `disconnectGui`."""
        isWidget = getattr(gui, "isWidgetType", lambda: False)()
        widgets = gui.findChildren(qt.QWidget) if isWidget else list(vars(gui).values())
        named = {widget.property(_PROPERTY): widget for widget in widgets if widget.property(_PROPERTY)}
        return self.connectParametersToGui(named)

    def connectParametersToGui(self, mapping):
        connections = [_Connection(self._field(name), widget) for name, widget in mapping.items()]
        tag, self._nextTag = self._nextTag, self._nextTag + 1
        for connection in connections:
            connection.write(self.getValue(connection.field.name))
            connection.connect(lambda connection=connection: self._updateNode(connection))
        observer = self.AddObserver(vtk.vtkCommand.ModifiedEvent, lambda caller, event: self._updateGui())
        self._guis[tag] = (connections, observer)
        return tag

    def disconnectGui(self, tag):
        connections, observer = self._guis.pop(tag, ((), None))
        for connection in connections:
            connection.disconnect()
        if observer is not None and DISCONNECT_REMOVES_OBSERVER:
            self.RemoveObserver(observer)

    def _updateNode(self, connection):
        if not self._isUpdatingGui:
            self.setValue(connection.field.name, connection.read())

    def _updateGui(self):
        if self._isUpdatingGui:
            return
        self._isUpdatingGui = True
        try:
            with slicer.util.NodeModify(self):
                for connections, _ in self._guis.values():
                    for connection in connections:
                        connection.write(self.getValue(connection.field.name))
        finally:
            self._isUpdatingGui = False

    def StartModify(self):
        return self.parameterNode.StartModify()

    def EndModify(self, wasModified):
        return self.parameterNode.EndModify(wasModified)

    def AddObserver(self, event, callback, priority=0.0):
        return self.parameterNode.AddObserver(event, callback, priority)

    def RemoveObserver(self, tag):
        self.parameterNode.RemoveObserver(tag)

    def Modified(self):
        self.parameterNode.Modified()


def parameterNodeWrapper(wrappedClass=None):
    """Class decorator: the class's annotated names become parameters of a vtkMRMLScriptedModuleNode."""
    if wrappedClass is None:
        return parameterNodeWrapper
    fields = {}
    for name, annotatedType in typing.get_type_hints(wrappedClass, include_extras=True).items():
        classDefault = Default(getattr(wrappedClass, name)) if hasattr(wrappedClass, name) else None
        fields[name] = _Field(name, annotatedType, classDefault)
        setattr(wrappedClass, name, _propertyOf(name))
    reserved = {name: item for name, item in vars(_Wrapper).items() if inspect.isfunction(item)}
    for name, item in {"allParameters": fields, "_is_parameter_node_wrapper": True, **reserved}.items():
        if not name.startswith("__") and hasattr(wrappedClass, name):
            raise ValueError(f"Cannot use reserved name '{name}' in a parameterNodeWrapper")
        setattr(wrappedClass, name, item)
    return wrappedClass


def _propertyOf(name):
    return property(lambda self: self.getValue(name), lambda self, value: self.setValue(name, value))


def isParameterNodeWrapper(classOrObject):
    return getattr(classOrObject, "_is_parameter_node_wrapper", False)
