"""The Slicer side uses nothing that PythonQt, the Python binding inside Slicer, lacks: read from its source.

Neither PySide6 nor the harness on it can show all of that; in Slicer it would be an error in front of the user.
"""

import ast
import re
import textwrap
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
import qt
from harness import widgets
from MetaSSLSegmentLib.Scene.ParameterNode import MetaSSLSegmentParameterNode
from user import MODULE

UI = MODULE.parent / "Resources" / "UI" / "MetaSSLSegment.ui"
FILES = [MODULE, *sorted((MODULE.parent / "MetaSSLSegmentLib").rglob("*.py"))]

FORBIDDEN_IMPORTS = {"torch", "monai", "skimage", "matplotlib", "scipy", "PySide6", "PySide2", "PyQt5", "PyQt6"}
INSIDE_FUNCTIONS_ONLY = {"PyTorchUtils", "SampleData"}
BOTH = {"sizeHint", "minimumSizeHint", "singleShot"}
"""Functions that have the name of a property, too."""
GONE_IN_QT6 = {"QTextCodec", "QRegExp", "QRegExpValidator", "QDesktopWidget", "QStringList", "QLinkedList"}
PYTHON_SIGNALS = {"Signal", "Slot", "pyqtSignal", "pyqtSlot"}
TRANSLATORS = {"_", "tr", "translate"}
NAMED_AFTER = {
    "button": "QPushButton",
    "label": "QLabel",
    "bar": "QProgressBar",
    "comboBox": "QComboBox",
    "table": "QTableWidget",
}
"""What a function's argument of this name is."""
INPUTS = {
    "QPushButton",
    "QComboBox",
    "QCheckBox",
    "QSpinBox",
    "QDoubleSpinBox",
    "QLineEdit",
    "QTableWidget",
    "ctkPathLineEdit",
    "ctkSliderWidget",
    "qMRMLNodeComboBox",
}


def widgetsOf(uiFile):
    """Name -> class name of the widgets of a .ui file, in order."""
    found = [(widget.get("name"), widget.get("class")) for widget in ElementTree.parse(uiFile).iter("widget")]
    assert len(found) == len(dict(found)), "two widgets of the same name"
    return dict(found)


def classNamed(name):
    """The class of that name of Qt, ctk or qMRML; None when there is none."""
    return widgets.STAND_INS.get(name) or getattr(qt, name, None)


def _propertiesAndSignals(qtClass):
    about = qtClass.staticMetaObject
    properties = [about.property(n) for n in range(about.propertyCount())]
    methods = [about.method(n) for n in range(about.methodCount())]
    signals = [m for m in methods if m.methodType() == qt.QMetaMethod.Signal]
    return (
        {one.name(): one.isWritable() for one in properties},
        {bytes(m.methodSignature().data()).decode() for m in signals},
    )


KNOWN = {
    qtClass: _propertiesAndSignals(qtClass)
    for qtClass in (*widgets.STAND_INS.values(), *vars(qt).values())
    if isinstance(qtClass, type) and hasattr(qtClass, "staticMetaObject")
}
"""Read at import: PySide6 forgets meta-objects when widgets of other tests are deleted."""


def propertiesOf(qtClass):
    """Name -> whether it can be assigned, of the Qt properties of a class."""
    return KNOWN[qtClass][0] if qtClass in KNOWN else {}


def signalsOf(qtClass):
    """Signatures of the signals of a class."""
    return KNOWN[qtClass][1]


class IdiomCheck(ast.NodeVisitor):
    """Collects what one file does that PythonQt cannot, or that Qt does not have.

    Args:
        uiWidgets: name -> class name of the widgets that the file knows as `ui.NAME`.
    """

    def __init__(self, uiWidgets):
        self.uiWidgets = uiWidgets
        self.problems = []
        self._depth = 0
        self._known = {}

    def check(self, source):
        """What is wrong with a source text, as "line: problem"."""
        tree = ast.parse(source)
        arguments = {name: [classNamed(kind)] for name, kind in NAMED_AFTER.items()}
        self._known = dict(arguments)
        for node in ast.walk(tree):  # `self.x = qt.QTimer()` and `self.table = table` count in all methods
            if isinstance(node, ast.Assign):
                self._learn(node, lambda target: isinstance(target, ast.Attribute))
        self._known = {name: classes for name, classes in self._known.items() if name not in arguments}
        self.visit(tree)
        return self.problems

    def _report(self, node, text):
        self.problems.append(f"{node.lineno}: {text}")

    # Which class a thing is

    def _classesOf(self, node):
        """Classes that an expression can have; none when nothing is known."""
        if self._isUi(node):
            name = self.uiWidgets.get(node.attr)
            return [classNamed(name)] if name else []
        if isinstance(node, ast.Call) and self._isQtClass(node.func):
            return [getattr(qt, node.func.attr)]
        return self._known.get(ast.unparse(node), [])

    @staticmethod
    def _isUi(node):
        """Whether this is `ui.something` or `self.ui.something`."""
        if not isinstance(node, ast.Attribute):
            return False
        return ast.unparse(node.value) in ("ui", "self.ui")

    @staticmethod
    def _isQtClass(node):
        return (
            isinstance(node, ast.Attribute)
            and ast.unparse(node.value) == "qt"
            and isinstance(getattr(qt, node.attr, None), type)
        )

    def _learn(self, node, wanted=lambda target: True):
        """Remember what an assignment gives a name to."""
        for target in node.targets:
            pairs = [(target, node.value)]
            if isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple):
                pairs = list(zip(target.elts, node.value.elts))
            for name, value in pairs:
                if isinstance(name, ast.Name | ast.Attribute) and wanted(name) and not self._isUi(name):
                    self._set(name, self._classesOf(value))

    def _set(self, name, classes):
        key = ast.unparse(name)
        if classes:
            self._known[key] = classes
        elif isinstance(name, ast.Name):
            self._known.pop(key, None)

    # What is looked at

    def visit_FunctionDef(self, node):
        outside = dict(self._known)
        for argument in node.args.args:
            name = NAMED_AFTER.get(argument.arg)
            self._known.pop(argument.arg, None)
            if name:
                self._known[argument.arg] = [classNamed(name)]
            self._refuseUnderscore(argument, argument.arg)
        self._depth += 1
        self.generic_visit(node)
        self._depth -= 1
        self._known = outside

    def visit_Lambda(self, node):
        for argument in node.args.args:
            self._refuseUnderscore(argument, argument.arg)
        self.generic_visit(node)

    def visit_Assign(self, node):
        self.generic_visit(node)
        self._learn(node)
        for target in node.targets:
            for one in target.elts if isinstance(target, ast.Tuple) else [target]:
                self._checkTarget(one)

    def visit_AugAssign(self, node):
        self.generic_visit(node)
        self._checkTarget(node.target)

    def visit_For(self, node):
        elements = node.iter.elts if isinstance(node.iter, ast.Tuple | ast.List) else []
        targets = node.target.elts if isinstance(node.target, ast.Tuple) else [node.target]
        for n, target in enumerate(targets):
            if isinstance(target, ast.Name):
                values = [e.elts[n] if isinstance(node.target, ast.Tuple) else e for e in elements]
                self._set(target, [one for value in values for one in self._classesOf(value)])
        self.generic_visit(node)

    def visit_Name(self, node):
        if isinstance(node.ctx, ast.Store):
            self._refuseUnderscore(node, node.id)
        if node.id in PYTHON_SIGNALS:
            self._report(node, f"{node.id}: PythonQt cannot declare signals")

    def _refuseUnderscore(self, node, name):
        if name == "_":
            self._report(node, "the name _ is the translation function")

    def _checkTarget(self, target):
        if not isinstance(target, ast.Attribute):
            return
        for qtClass in self._classesOf(target.value):
            if not propertiesOf(qtClass).get(target.attr):
                self._report(target, f"{qtClass.__name__} has no property {target.attr} that can be assigned")

    def visit_Attribute(self, node):
        self.generic_visit(node)
        chain = ast.unparse(node).split(".")
        if self._isUi(node) and node.attr not in self.uiWidgets:
            self._report(node, f"the .ui file has no widget {node.attr}")
        for qtClass in self._classesOf(node.value):
            if isinstance(node.ctx, ast.Load) and not hasattr(qtClass, node.attr):
                self._report(node, f"{qtClass.__name__} has no {node.attr}")
        if chain[0] != "qt":
            return
        if chain[-1] in GONE_IN_QT6:
            self._report(node, f"{chain[-1]} is gone in Qt 6")
        elif chain[-1] in PYTHON_SIGNALS:
            self._report(node, f"{chain[-1]}: PythonQt cannot declare signals")
        elif len(chain) == 4 and chain[2][:1].isupper() and chain[3][:1].isupper():
            self._report(node, f"{'.'.join(chain)}: PythonQt has {chain[0]}.{chain[1]}.{chain[3]}")
        elif len(chain) in (2, 3) and not self._exists(chain[1:]):
            self._report(node, f"{'.'.join(chain)} does not exist")

    @staticmethod
    def _exists(names):
        thing = qt
        for name in names:
            thing = getattr(thing, name, None)
        return thing is not None

    def visit_Call(self, node):
        self.generic_visit(node)
        function = node.func
        name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
        if name in ("exec", "exec_", "eval"):
            self._report(node, f"{name}(): blocks everything, or runs text")
        if name in ("system", "popen") and ast.unparse(function).startswith("os."):
            self._report(node, f"os.{name}: runs a shell")
        if any(keyword.arg == "shell" and ast.unparse(keyword.value) != "False" for keyword in node.keywords):
            self._report(node, "shell=True")
        if isinstance(function, ast.Name) and name in TRANSLATORS:
            self._checkTranslation(node)
        if not isinstance(function, ast.Attribute):
            return
        classes = self._classesOf(function.value)
        for qtClass in classes:
            if name in propertiesOf(qtClass) and name not in BOTH:
                self._report(node, f"{qtClass.__name__}.{name} is a property: no ()")
        if node.keywords and (classes or self._isQtClass(function)):
            self._report(node, f"{name}: PythonQt takes no keyword arguments")
        if name.startswith("waitFor") and (not node.args or ast.unparse(node.args[0]).startswith("-")):
            self._report(node, f"{name}: without a time limit")
        if name in ("connect", "disconnect"):
            self._checkConnection(node, classes)

    def _checkTranslation(self, node):
        for argument in node.args:
            if not (isinstance(argument, ast.Constant) and isinstance(argument.value, str)):
                self._report(node, f"{ast.unparse(argument)[:40]}: only a plain text can be looked up for translation")

    def _checkConnection(self, node, classes):
        first = node.args[0] if node.args else None
        if isinstance(first, ast.Constant) and isinstance(first.value, str):
            signature = first.value
        else:
            self._report(node, "connect: the signal must be a plain text")
            return
        if not re.fullmatch(r"\w+\([\w:*, <>]*\)", signature):
            self._report(node, f'"{signature}" is no C++ signature')
            return
        played = re.sub(r"vtk\w+\s*\*", "PyObject", signature).replace(" ", "")
        for qtClass in classes:
            if played not in signalsOf(qtClass):
                self._report(node, f"{qtClass.__name__} has no signal {signature}")

    def visit_Import(self, node):
        for alias in node.names:
            self._checkImport(node, alias.name)

    def visit_ImportFrom(self, node):
        if not node.level:
            self._checkImport(node, node.module)

    def _checkImport(self, node, module):
        package = module.partition(".")[0]
        if package in FORBIDDEN_IMPORTS:
            self._report(node, f"import of {package}: belongs into the engine's process")
        elif package in INSIDE_FUNCTIONS_ONLY and not self._depth:
            self._report(node, f"import of {package} at file scope: may be missing, or slow")


def problemsOf(source, **uiWidgets):
    """What is wrong with a piece of code."""
    return IdiomCheck(uiWidgets).check(textwrap.dedent(source))


# The module


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_the_slicer_side_uses_only_what_pythonqt_has(path):
    problems = IdiomCheck(widgetsOf(UI)).check(path.read_text(encoding="utf-8"))
    assert problems == [], "\n".join(f"{path.name}:{problem}" for problem in problems)


def test_the_check_sees_the_widgets_of_the_sections():
    """So that it cannot pass because it recognises nothing."""
    seen = set()

    class Watched(IdiomCheck):
        def _classesOf(self, node):
            classes = super()._classesOf(node)
            if classes:
                seen.add(ast.unparse(node).removeprefix("self."))
            return classes

    for path in FILES:
        Watched(widgetsOf(UI)).check(path.read_text(encoding="utf-8"))
    assert {"ui.startButton", "ui.caseTable", "table", "button", "bar", "process", "_flushTimer", "path"} <= seen
    assert len(seen) > 60


# The check itself


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ("self.ui.stopButon.enabled = True", "no widget stopButon"),
        ("ui.stopButon.click()", "no widget stopButon"),
        ("self.ui.button.enabledd = True", "no property enabledd"),
        ("ui.button.fooBar = 1", "no property fooBar"),
        ("ui.box.count = 3", "no property count that can be assigned"),
        ("ui.box.count += 3", "no property count that can be assigned"),
        ("a, ui.button.foo = 1, 2", "no property foo"),
        ("button = self.ui.button\nbutton.foo = 1", "no property foo"),
        ("button, other = self.ui.button, 3\nbutton.foo = 1", "no property foo"),
        ("for one in (ui.button, ui.box):\n    one.checkable = True", "QComboBox has no property checkable"),
        ("for one, n in ((ui.button, 1), (ui.box, 2)):\n    one.checkable = n", "QComboBox has no property checkable"),
        ("def f(label):\n    label.txt = ''", "QLabel has no property txt"),
        ("ui.button.text()", "is a property"),
        ("ui.box.currentIndex()", "is a property"),
        ("box = ui.box\nprint(box.currentText())", "is a property"),
        ("ui.table.rowCount()", "is a property"),
        ("ui.path.currentPath()", "is a property"),
        ("ui.section.collapsed()", "is a property"),
        ("timer = qt.QTimer()\ntimer.interval()", "is a property"),
        ("self.t = qt.QTimer()\ndef f(self):\n    self.t.active()", "is a property"),
        ("self.t = qt.QTimer()\nself.t.foo = 1", "no property foo"),
        ("ui.button.setTxt('a')", "QPushButton has no setTxt"),
        ("print(ui.button.txt)", "QPushButton has no txt"),
        ("qt.QMessageBox().exec()", "exec"),
        ("dialog.exec_()", "exec_"),
        ("exec('a')", "exec"),
        ("x = qt.Qt.AlignmentFlag.AlignLeft", "PythonQt has qt.Qt.AlignLeft"),
        ("f(qt.QProcess.ProcessError.FailedToStart)", "PythonQt has qt.QProcess.FailedToStart"),
        ("x = qt.Qt.AlignLefft", "does not exist"),
        ("x = qt.QFooBar()", "does not exist"),
        ("class A(qt.QObject):\n    changed = qt.Signal(int)", "cannot declare signals"),
        ("changed = Signal(int)", "cannot declare signals"),
        ("@qt.Slot()\ndef f(): pass", "cannot declare signals"),
        ("ui.button.connect('clickd(bool)', f)", "no signal clickd(bool)"),
        ("ui.button.connect('clicked(int)', f)", "no signal clicked(int)"),
        ("ui.button.connect('clicked', f)", "no C++ signature"),
        ("ui.button.connect(name, f)", "plain text"),
        ("ui.button.connect(f)", "plain text"),
        ("ui.box.disconnect('currentIndexChanged(QString)', f)", "no signal currentIndexChanged(QString)"),
        ("ui.node.connect('currentNodeChanged(int)', f)", "no signal"),
        ("p = qt.QProcess()\np.connect('finished()', f)", "no signal finished()"),
        ("ui.button.setText(text='a')", "no keyword arguments"),
        ("qt.QTimer(parent=self)", "no keyword arguments"),
        ("p.waitForFinished()", "without a time limit"),
        ("p.waitForFinished(-1)", "without a time limit"),
        ("_(f'Case {name}')", "plain text"),
        ("_('Case ' + name)", "plain text"),
        ("_('Case {n}'.format(n=1))", "plain text"),
        ("_('Case %d' % 1)", "plain text"),
        ("_(text)", "plain text"),
        ("translate('a', f'{b}')", "plain text"),
        ("for _ in range(3): pass", "translation function"),
        ("a, _ = b", "translation function"),
        ("f(lambda _: 1)", "translation function"),
        ("def f(_): pass", "translation function"),
        ("import torch", "import of torch"),
        ("def f():\n    import torch.nn as nn", "import of torch"),
        ("from monai.networks import nets", "import of monai"),
        ("import matplotlib.pyplot as plt", "import of matplotlib"),
        ("from PySide6 import QtCore", "import of PySide6"),
        ("import PyTorchUtils", "at file scope"),
        ("class A:\n    import SampleData", "at file scope"),
        ("qt.QTextCodec.codecForName('x')", "gone in Qt 6"),
        ("x = qt.QRegExp('a')", "gone in Qt 6"),
        ("subprocess.run('a', shell=True)", "shell=True"),
        ("subprocess.run('a', shell=flag)", "shell=True"),
        ("os.system('ls')", "shell"),
    ],
)
def test_the_check_finds(source, problem):
    found = problemsOf(
        source,
        button="QPushButton",
        box="QComboBox",
        table="QTableWidget",
        path="ctkPathLineEdit",
        section="ctkCollapsibleButton",
        node="qMRMLNodeComboBox",
    )
    assert any(problem in text for text in found), found


def test_the_check_accepts_what_is_right():
    source = """
        import qt, slicer, numpy as np
        from slicer.i18n import tr as _
        class A:
            def __init__(self, ui):
                self.timer = qt.QTimer()
                self.timer.setSingleShot(True)
                self.timer.interval = 20
                self.timer.connect("timeout()", self.f)
                ui.button.enabled, self.x = True, 3
                ui.button.connect("clicked(bool)", lambda checked, mode=1: self.f())
                ui.node.connect("currentNodeChanged(vtkMRMLNode*)", self.f)
                ui.table.connect("cellDoubleClicked(int,int)", self.f)
                ui.box.addItem("a", 1)
                ui.table.item(0, 0).text()
                if ui.box.currentIndex >= 0 and ui.box.findData(1) >= 0:
                    ui.box.setCurrentIndex(0)
                self.align = qt.Qt.AlignLeft | qt.Qt.AlignTop
                path = qt.QStandardPaths.writableLocation(qt.QStandardPaths.DocumentsLocation)
                process = qt.QProcess()
                process.connect("finished(int,QProcess::ExitStatus)", self.f)
                process.waitForFinished(10)
                qt.QTimer.singleShot(0, self.f)
            def f(self):
                import PyTorchUtils
                return _("Case {n}").format(n=f"{1}") + str(subprocess.run(["a"], shell=False))
            def g(self, ui, names):
                table = ui.table
                table = names
                table.anything = 1
        """
    found = problemsOf(source, button="QPushButton", box="QComboBox", table="QTableWidget", node="qMRMLNodeComboBox")
    assert found == []


# The .ui file


def propertyTexts(widget):
    """Name -> text of the properties that a .ui file sets on a widget."""
    return {one.get("name"): "".join(one.itertext()).strip() for one in widget.findall("property")}


def test_every_input_has_a_tooltip():
    without = [
        widget.get("name")
        for widget in ElementTree.parse(UI).iter("widget")
        if widget.get("class") in INPUTS and not propertyTexts(widget).get("toolTip")
    ]
    assert without == []


def test_every_class_of_the_ui_file_exists():
    assert [name for name, kind in widgetsOf(UI).items() if classNamed(kind) is None] == []


def test_every_property_of_the_ui_file_exists():
    missing = [
        f"{widget.get('name')}.{name}"
        for widget in ElementTree.parse(UI).iter("widget")
        for name in propertyTexts(widget)
        if name not in ("SlicerParameterName", "buddy") and name not in propertiesOf(classNamed(widget.get("class")))
    ]
    assert missing == []


def test_every_label_of_a_field_names_it():
    """For the keyboard, and for programs that read the panel to people who do not see it."""
    texts = {w.get("name"): propertyTexts(w) for w in ElementTree.parse(UI).iter("widget")}
    fields = {name: text["buddy"] for name, text in texts.items() if text.get("text", "").endswith(":")}
    assert len(fields) > 20 and set(fields.values()) <= set(widgetsOf(UI))
    assert all(name == f"{buddy}Label" for name, buddy in fields.items())


def test_every_slicer_parameter_name_is_a_parameter():
    parameters = MetaSSLSegmentParameterNode.allParameters
    named = [
        (widget.get("name"), propertyTexts(widget)["SlicerParameterName"])
        for widget in ElementTree.parse(UI).iter("widget")
        if "SlicerParameterName" in propertyTexts(widget)
    ]
    assert len(named) >= 10
    assert [one for one in named if one[1] not in parameters] == []
    assert len({name for _widget, name in named}) == len(named), "one widget per parameter"


def test_every_widget_that_the_sections_name_is_used_and_every_button_does_something():
    """A button without a connection is a dead one."""
    source = "\n".join(path.read_text(encoding="utf-8") for path in FILES)
    buttons = [name for name, kind in widgetsOf(UI).items() if kind == "QPushButton"]
    assert [name for name in buttons if f"ui.{name}" not in source] == []


def test_all_scripts_are_looked_at():
    assert {path.name for path in FILES} >= {
        "MetaSSLSegment.py",
        "EngineProcess.py",
        "Section.py",
        "TrainingSection.py",
    }
    assert all(isinstance(path, Path) and path.is_file() for path in FILES)
