"""The panel as people see it in Slicer's dock: narrow, with large fonts, dark; what runs is in sight."""

import itertools

import pytest
import qt
import slicer
from harness.interaction import processEvents
from MetaSSLSegmentLib.Sections.Colours import LEAST_CONTRAST, ODD, QUIET, WRONG, contrast, readable
from MetaSSLSegmentLib.Sections.Section import TOOLTIP, fill, say
from reviewing import reviewed
from test_data_section import dataset
from test_exchange import segmentationNode, volumeNode
from test_folder_table import writeCase
from user import PANEL_SIZE

SECTIONS = ("setup", "data", "training", "segment", "review", "display")
LONG = "a long name that somebody gave without a thought of the width of panels in any program whatsoever"
LIGHT, DARK = (239, 239, 239), (50, 50, 50)
"""Windows in Slicer's themes (RGB)."""


def darkPalette():
    palette = qt.QPalette()
    for role, rgb in ((qt.QPalette.Window, DARK), (qt.QPalette.Base, (33, 33, 33)), (qt.QPalette.Button, DARK)):
        palette.setColor(role, qt.QColor(*rgb))
    for role in (qt.QPalette.WindowText, qt.QPalette.Text, qt.QPalette.ButtonText):
        palette.setColor(role, qt.QColor(240, 240, 240))
    palette.setColor(qt.QPalette.AlternateBase, qt.QColor(42, 42, 42))
    return palette


@pytest.fixture
def application():
    """Font and colours of all widgets; as before when the test is over."""
    font, palette = qt.QApplication.font(), qt.QApplication.palette()
    yield qt.QApplication
    qt.QApplication.setFont(font)
    qt.QApplication.setPalette(palette)


def widgetsIn(widget):
    """All visible widgets of our own, not those inside of Qt's."""
    for child in widget.findChildren(qt.QWidget):
        if child.isVisible() and child.objectName and not child.objectName.startswith("qt_"):
            yield child


def openEverything(user, tmp_path):
    """All sections, with long texts wherever a person can bring them in."""
    slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", LONG)
    volume = volumeNode(name=LONG)
    segmentationNode(volume, **{LONG: slicer.util.arrayFromVolume(volume) > 50})
    place = {"position": [1, 2, 3], "classes": [LONG, "background"], "volume_ml": 0.125}
    user.widget.onSegmented(reviewed(volume, tmp_path, places=[place] * 20))
    for name in ("case 1", LONG):
        writeCase(tmp_path / "images", tmp_path / LONG, name, 0.5)
    user.cases.addDataset(dataset(tmp_path / "d", 30) / "dataset.json")
    for row in user.cases.rows:
        row.severity, row.status, row.size, row.spacing = "warning", LONG + ".\nB.", [512, 512, 333], [0.7, 0.7, 1.25]
    user.widget.dataSection.refresh()
    user.select(["case 3"])
    ui = user.ui
    ui.caseVolumeSelector.setCurrentNode(volume)
    ui.inputSelector.setCurrentNode(volume)
    for path in (ui.casesFolderPath, ui.inputFolderPath):
        path.currentPath = f"/{LONG}/{LONG}"
    ui.outputFolderPath.currentPath = str(tmp_path / LONG)
    user.widget.loop.folder.refresh()
    ui.runsFolderButton.directory = str(tmp_path / LONG)
    for box in (ui.modelBox, ui.resumeBox, ui.resultBox):
        fill(box, [(LONG, LONG)])
    for label in (ui.dataStatus, ui.trainingStatus, ui.segmentStatus, ui.deviceText, ui.packagesText, ui.reviewStatus):
        say(label, LONG, wrong=True)
    user.widget.dataSection.task.begin(LONG)
    user.widget.dataSection.task.progress("preprocessing", 0.5, 4000, LONG)
    for section in (*SECTIONS, "advanced", "log", "batch", "runs"):
        getattr(ui, f"{section}Section").collapsed = False
    processEvents(50)


@pytest.mark.parametrize("isDark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("factor", [1, 1.5])
def test_nothing_is_cut_off_in_a_narrow_dock(user, application, tmp_path, factor, isDark):
    font = application.font()
    font.setPointSizeF(9 * factor)  # as in Slicer
    application.setFont(font)
    application.setPalette(darkPalette() if isDark else application.palette())
    openEverything(user, tmp_path)
    ui, width = user.ui, PANEL_SIZE[0]
    assert user.representation.sizeHint().width() <= width and user.representation.width <= width
    assert ui.scrolled.minimumSizeHint().width() <= ui.scrollArea.viewport().width
    assert ui.scrollArea.horizontalScrollBar().maximum == 0
    cut = []
    for widget in widgetsIn(user.representation):
        right = widget.mapTo(user.representation, qt.QPoint(widget.width, 0)).x()
        if right > width:
            cut.append(f"{widget.objectName} reaches {right}")
        isText = isinstance(widget, qt.QPushButton | qt.QCheckBox | qt.QLabel)
        if isText and not getattr(widget, "wordWrap", False) and widget.width < widget.sizeHint().width():
            cut.append(f"{widget.objectName} needs {widget.sizeHint().width()}, has {widget.width}")
    assert cut == []
    user.widget.dataSection.task.finish("")


def test_what_runs_is_in_sight_whatever_is_scrolled(user, tmp_path):
    openEverything(user, tmp_path)
    bar = user.ui.scrollArea.verticalScrollBar()
    for position in (0, bar.maximum):
        bar.value = position
        processEvents(10)
        for widget in (user.ui.workText, user.ui.workProgress, user.ui.cancelButton):
            assert not widget.visibleRegion().isEmpty()
            place = widget.mapTo(user.panel, qt.QPoint(0, widget.height))
            assert 0 < place.y() < PANEL_SIZE[1] / 2
    assert bar.maximum > 500 and user.panel.verticalScrollBar().maximum == 0, "the line would scroll away with the dock"
    user.widget.dataSection.task.finish("")


def test_tooltips_say_what_a_button_does_or_why_it_cannot(user):
    for widget in widgetsIn(user.representation):
        if isinstance(widget, qt.QPushButton | qt.QComboBox | qt.QCheckBox | qt.QAbstractSpinBox | qt.QTableWidget):
            assert widget.toolTip.endswith("."), widget.objectName


def test_every_control_has_a_tooltip_that_stands_alone(user, tmp_path):
    """A sentence that no other control has, also while another one says why the control cannot be used now."""
    openEverything(user, tmp_path)
    texts = {control.objectName: control.property(TOOLTIP) or control.toolTip for control in controlsIn(user)}
    for name, text in texts.items():
        assert text.endswith(".") and len(text.split()) >= 3, f"{name}: {text!r}"
        assert not text.startswith(("It ", "They ", "This ", "These ")), f"{name}: {text!r}"
    assert [name for name, text in texts.items() if list(texts.values()).count(text) > 1] == []
    user.widget.dataSection.task.finish("")


def controlsIn(user):
    """What a person works with, in the order of the tabulator key; the inner parts of a widget are one control."""
    ours = {
        widget
        for name, widget in vars(user.ui).items()
        if isinstance(widget, qt.QWidget) and not name.startswith("qt_")
    }
    found, current = [], user.panel
    while (current := current.nextInFocusChain()) is not user.panel:
        control = current if current.isVisible() and current.focusPolicy & qt.Qt.TabFocus else None
        while control is not None and control not in ours:
            control = control.parentWidget()
        if control is not None and not isinstance(control, qt.QScrollArea) and control not in found[-1:]:
            found.append(control)
    return found


def test_the_tabulator_key_goes_through_the_panel_as_one_reads(user, tmp_path):
    openEverything(user, tmp_path)
    controls = controlsIn(user)
    names = [control.objectName for control in controls]
    assert {"caseVolumeSelector", "nextChannelButton", "startButton", "runTable", "certainBox"} <= set(names)
    back = []
    for control, following in itertools.pairwise(controls):
        place, next_ = (qt.QRect(w.mapTo(user.panel, qt.QPoint(0, 0)), w.size) for w in (control, following))
        if control.objectName.endswith("Section"):  # its title, above all that is in it
            place.setHeight(10)
        isBeside = next_.left() >= place.right() and next_.bottom() > place.top()
        if not (isBeside or next_.top() >= place.bottom()):
            back.append(f"{control.objectName} -> {following.objectName}")
    assert back == []
    user.widget.dataSection.task.finish("")


# Colours


@pytest.mark.parametrize("background", [LIGHT, DARK, (255, 255, 255), (0, 0, 0), (128, 128, 128), (90, 110, 70)])
@pytest.mark.parametrize("colour", [WRONG, ODD, QUIET, (255, 255, 255), (0, 0, 0)])
def test_any_colour_becomes_readable_on_any_background(colour, background):
    assert contrast(readable(colour, background), background) >= LEAST_CONTRAST


def test_contrast_is_that_of_the_guidelines():
    assert contrast((0, 0, 0), (255, 255, 255)) == pytest.approx(21)
    assert contrast((119, 119, 119), (255, 255, 255)) == pytest.approx(4.48, abs=0.01)
    assert readable(WRONG, (255, 255, 255)) == WRONG, "a colour that can be read stays as it is"


def rgb(colour):
    return colour.red(), colour.green(), colour.blue()


@pytest.mark.parametrize("isDark", [False, True], ids=["light", "dark"])
def test_messages_and_findings_can_be_read_in_every_theme(user, application, tmp_path, isDark):
    if isDark:
        application.setPalette(darkPalette())
        processEvents()
    user.cases.addDataset(dataset(tmp_path / "d", 3) / "dataset.json")
    for row, severity in zip(user.cases.rows, ("fixed", "warning", "excluded")):
        row.severity = severity
    user.widget.dataSection.refresh()
    table = user.ui.caseTable
    for n in range(3):
        for role in (qt.QPalette.Base, qt.QPalette.AlternateBase):
            assert (
                contrast(rgb(table.item(n, 0).foreground().color()), rgb(table.palette.color(role))) >= LEAST_CONTRAST
            )
    say(user.ui.dataStatus, "wrong", wrong=True)
    text = qt.QColor(user.ui.dataStatus.styleSheet.split()[1].rstrip(";"))
    window = rgb(user.ui.dataStatus.palette.color(qt.QPalette.Window))
    assert contrast(rgb(text), window) >= LEAST_CONTRAST and (window == DARK) == isDark
