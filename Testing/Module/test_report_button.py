"""The report of a training opens in the browser."""

import pytest
import qt
from test_run_table import choose, runs  # noqa: F401


@pytest.fixture
def browser(monkeypatch):
    """The files that were opened."""
    opened = []
    monkeypatch.setattr(qt.QDesktopServices, "openUrl", lambda url: not opened.append(url.toLocalFile()))
    return opened


@pytest.fixture
def engine(user, monkeypatch):
    """The commands that the engine was asked to do; it answers as ``metassl report`` does."""
    commands = []

    def start(arguments, listener):
        commands.append([str(word) for word in arguments])
        event = {"event": "done", "out": str(arguments[1] / "report.html")}
        qt.QTimer.singleShot(0, lambda: listener.done(event))

    monkeypatch.setattr(user.widget.logic.engine, "start", start)
    return commands


def test_the_report_of_the_selected_training_opens_in_the_browser(user, runs, engine, browser):  # noqa: F811
    assert not user.ui.reportButton.enabled and "Select one training" in user.ui.reportButton.toolTip
    choose(user, "a")
    user.click("reportButton")
    user.waitUntilIdle(10)
    assert engine == [["report", str(runs[0])]] and browser == [str(runs[0] / "report.html")]
    assert user.ui.workText.text == f"The report is {runs[0] / 'report.html'}"


def test_without_a_browser_the_path_is_told(user, runs, engine, monkeypatch):  # noqa: F811
    monkeypatch.setattr(qt.QDesktopServices, "openUrl", lambda url: False)
    choose(user, "b")
    user.click("reportButton")
    user.waitUntilIdle(10)
    assert "No browser could be opened" in user.ui.workText.text and "report.html" in user.ui.workText.text
