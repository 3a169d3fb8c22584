"""Every way in which the engine can end badly becomes a sentence with a remedy, in words of Slicer's panel."""

import ast

import pytest
from metassl import errors
from metassl.cli.main import EXIT_CODES
from MetaSSLSegmentLib.Engine.Failure import Failure, crashedBehindLauncher, failureOf, failureToStart
from user import MODULE

ERRORS = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.MetaSSLError)]
CODES = sorted({kind.exit_code for kind in ERRORS})


def test_the_documented_codes_are_those_of_the_errors():
    """So that the next test covers all of them."""
    assert CODES == [1, 2, 3, 4, 5, 130]
    assert all(f"{code} " in EXIT_CODES for code in CODES)


@pytest.mark.parametrize("code", CODES)
def test_every_documented_exit_code_has_its_own_sentence(code):
    failure = failureOf(code, crashed=False)
    assert failure.message.strip().endswith(".") and failure.exitCode == code
    assert failure.remedy.endswith(".") or code == 130
    assert failure.message not in {failureOf(other, crashed=False).message for other in CODES if other != code}


@pytest.mark.parametrize("code", [1, 2, 3, 4, 5, 77])
def test_a_failure_that_the_engine_did_not_explain_shows_the_end_of_the_log(code):
    """For instance an option that argparse refuses: exit code 2 and a line on standard error."""
    text = failureOf(code, crashed=False, lastLines=["ancient", "one", "two", "argument --x: invalid"]).text()
    assert "argument --x: invalid" in text and "one" in text and "ancient" not in text


def test_an_unknown_code_is_named():
    assert "77" in failureOf(77, crashed=False).message


def test_ending_well_without_a_result_is_a_failure_too():
    assert "without a result" in failureOf(0, crashed=False).message


def test_a_crash_names_the_code_and_speaks_of_memory():
    failure = failureOf(9, crashed=True, lastLines=["some line"])
    assert "9" in failure.message and "memory" in failure.remedy


@pytest.mark.parametrize("crashed", [False, True])
def test_the_engines_own_words_come_first(crashed):
    event = {"event": "error", "message": "case_7: no such file", "hint": "Choose the folder again.", "code": 2}
    assert failureOf(2, crashed, event) == Failure("case_7: no such file", "Choose the folder again.", 2)


@pytest.mark.parametrize(
    "hint",
    [
        "Continue with: metassl train --resume RUN",
        "Choose another folder with --out.",
        "Install it with: pip install monai",
        "",
        None,
        7,
    ],
)
def test_hints_for_the_command_line_are_replaced_by_those_of_the_panel(hint):
    failure = failureOf(4, False, {"event": "error", "message": "monai is missing", "hint": hint})
    assert failure.message == "monai is missing"
    assert "section 1" in failure.remedy


def test_no_hint_of_the_engine_shows_a_person_in_slicer_a_command():
    """All texts of the engine's source that could be hints."""
    texts = {
        node.value
        for path in (MODULE.parent / "metassl").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value
    }
    assert len(texts) > 200
    for text in texts:
        for code in (2, 3, 4, 5):
            shown = failureOf(code, False, {"event": "error", "message": "m", "hint": text}).remedy
            assert "--" not in shown and "metassl " not in shown and "pip " not in shown, text


@pytest.mark.parametrize(
    "event", [{"event": "error"}, {"event": "error", "message": None}, {"event": "error", "message": ""}]
)
def test_an_error_without_a_message_gets_the_usual_sentence(event):
    assert failureOf(3, False, event).message.startswith("The memory is too small")


def test_a_message_that_is_no_text_can_still_be_shown():
    assert "['a']" in failureOf(2, False, {"event": "error", "message": ["a"], "hint": ["b"]}).text()


def test_a_missing_program_is_named_and_has_a_remedy():
    failure = failureToStart("/opt/Slicer/bin/PythonSlicer")
    assert "/opt/Slicer/bin/PythonSlicer" in failure.message and failure.remedy and failure.exitCode is None


def test_text_is_message_and_remedy():
    assert Failure("a", "b", 1).text() == "a\nb"
    assert Failure("a", "", 1).text() == "a"


def test_the_launchers_word_for_a_crash_is_known():
    """CTKAppLauncher makes exit code 1 of every signal, and says so on standard error."""
    said = "error: [/opt/Slicer/bin/./python-real] exit abnormally - Report the problem."
    assert crashedBehindLauncher(1, ["x", said])
    assert not crashedBehindLauncher(1, ["Traceback", "ValueError"])
    assert not crashedBehindLauncher(2, [said])
