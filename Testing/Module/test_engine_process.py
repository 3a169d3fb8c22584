"""The engine as a child process: real engines, and small ones that misbehave in every way we could think of."""

import gc
import json
import logging
import os
import signal
import stat
import subprocess
import sys
import time
import weakref
from pathlib import Path

import pytest
import qt
from harness.interaction import LatencyMonitor, failOnCallbackErrors, processEvents, waitUntil
from metassl.data.sample import make_sample
from MetaSSLSegmentLib.Engine import EngineProcess as engineProcessModule
from MetaSSLSegmentLib.Engine.EngineProcess import EngineListener, EngineProcess
from user import FOLDER, MODULE

ENGINE = MODULE.parent
AWKWARD = "with 'one' and \"two\" quotes, ü, 日本 & $HOME; 100%"
posixOnly = pytest.mark.skipif(os.name == "nt", reason="signals")

TALK = """
import json, os, signal, sys, threading, time
def say(kind, **fields):
    print(json.dumps({"event": kind, **fields}), flush=True)
"""


class Recorder(EngineListener):
    """Remembers what it was called with, in order; `ends` are the calls that end a command."""

    def __init__(self, **reactions):
        self.calls = []
        for name in ("started", "progress", "event", "log", "done", "failed", "cancelled"):
            setattr(self, name, self._recording(name, reactions.get(name)))

    def _recording(self, name, reaction):
        def record(*arguments):
            self.calls.append((name, *arguments))
            if reaction is not None:
                reaction(*arguments)

        return record

    def __call__(self, name):
        return [call[1:] for call in self.calls if call[0] == name]

    @property
    def ends(self):
        return [call for call in self.calls if call[0] in ("done", "failed", "cancelled")]

    @property
    def text(self):
        return "\n".join(text for (text,) in self("log"))


@pytest.fixture
def fake(tmp_path):
    """Makes an EngineProcess whose engine is the given Python code."""
    made = []

    def make(code, folder=tmp_path / "fake engine", program=None):
        package = Path(folder) / "metassl"
        package.mkdir(parents=True, exist_ok=True)
        (package / "__init__.py").touch()
        (package / "__main__.py").write_text(TALK + code, encoding="utf-8")
        engine = EngineProcess(folder, program)
        made.append(engine)
        return engine

    yield make
    for engine in made:
        engine.shutDown(0)


@pytest.fixture
def real():
    """The real engine."""
    engine = EngineProcess(ENGINE)
    yield engine
    engine.shutDown(0)


@pytest.fixture
def launcher(tmp_path):
    """A program that behaves as Slicer's launcher of Python: starts it as its child and waits; it reads no input."""
    path = tmp_path / "PythonSlicer"
    path.write_text(
        f"#!{sys.executable}\n"
        "import subprocess, sys\n"
        "code = subprocess.call([sys.executable, *sys.argv[1:]])\n"
        "if code < 0:\n"
        "    print('error: [python-real] exit abnormally - Report the problem.', file=sys.stderr)\n"
        "    code = 1\n"
        "sys.exit(code)\n"
    )
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


@pytest.fixture(autouse=True)
def loggedErrors(caplog):
    """No callback of a test may fail, except where the test takes the errors out itself."""
    with caplog.at_level(logging.ERROR):
        yield caplog
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR] == []


def run(engine, arguments=("train",), seconds=20, ends=1, **reactions):
    """Run a command to its end; returns what was told."""
    recorder = Recorder(**reactions)
    engine.start(arguments, recorder)
    waitUntil(lambda: not engine.isRunning, seconds, "the engine to end")
    assert len(recorder.ends) == ends, recorder.calls
    assert recorder.calls[-1] == recorder.ends[-1], "the end comes last"
    assertNothingIsLeft(engine)
    return recorder


def assertNothingIsLeft(engine):
    """No process, timer or callback of a command that has ended."""
    processEvents()
    assert not engine.isRunning and not engine.isStopping
    assert engine._process is None and engine._timer is None
    assert engine._listener == EngineListener()


def isAlive(pid):
    """Whether a process runs; one that has ended and that nobody has asked about does not."""
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False


# What is told


def test_started_progress_events_log_and_done_are_told_in_order(fake):
    recorder = run(
        fake(
            "say('start', device='cpu')\n"
            "say('progress', phase='training', fraction=0.25, eta_seconds=90.5, text='step 1')\n"
            "print('a line', flush=True)\n"
            "say('progress', phase='training', fraction=1, eta_seconds=None)\n"
            "say('done', iterations=3)\n"
        )
    )
    assert recorder.calls == [
        ("started",),
        ("event", {"event": "start", "device": "cpu"}),
        ("progress", "training", 0.25, 90.5, "step 1"),
        ("log", "a line"),
        ("progress", "training", 1.0, None, ""),
        ("event", {"event": "done", "iterations": 3}),
        ("done", {"event": "done", "iterations": 3}),
    ]


def test_standard_error_goes_to_the_log(fake):
    recorder = run(fake("print('Gerät: CPU', file=sys.stderr)\nsay('done')"))
    assert "Gerät: CPU" in recorder.text and recorder("done")


def test_half_lines_and_cut_characters_arrive_whole(fake):
    code = """
data = (json.dumps({"event": "metrics", "name": "Fall ü 日本"}, ensure_ascii=False) + "\\n").encode() * 3
for n in range(len(data)):
    os.write(1, data[n:n + 1])
    if n % 10 == 0:
        time.sleep(0.005)
os.write(1, b'{"event": "done"}')
"""
    recorder = run(fake(code))
    assert recorder("event") == [({"event": "metrics", "name": "Fall ü 日本"},)] * 3 + [({"event": "done"},)]
    assert recorder("done") and not recorder("log")


def test_invalid_utf8_and_foreign_lines_go_to_the_log_and_disturb_nothing(fake):
    recorder = run(fake("os.write(1, b'\\xff\\xfe noise\\n[1, 2]\\n{\"a\": 1}\\n')\nsay('done')"))
    assert recorder.text == '\ufffd\ufffd noise\n[1, 2]\n{"a": 1}' and recorder("done")


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ("fraction='much'", ("", 0.0, None, "")),
        ("fraction=None", ("", 0.0, None, "")),
        ("fraction=float('nan'), eta_seconds=float('inf')", ("", 0.0, None, "")),
        ("fraction=-3", ("", 0.0, None, "")),
        ("fraction=7", ("", 1.0, None, "")),
        ("fraction=10**400", ("", 0.0, None, "")),
        ("fraction=[1], eta_seconds={}, phase=5, text=None", ("5", 0.0, None, "None")),
    ],
)
def test_nonsense_in_progress_is_made_harmless(fake, fields, expected):
    """A progress bar that gets no number raises; what comes after it would be lost."""
    recorder = run(fake(f"say('progress', {fields})\nsay('done')"))
    assert recorder("progress") == [expected] and recorder("done")


def test_an_error_in_a_callback_is_logged_and_the_rest_is_told(fake, loggedErrors):
    def fail(*arguments):
        raise ValueError("of the test")

    recorder = run(
        fake("say('start')\nsay('progress')\nsay('done')"), started=fail, event=fail, progress=fail, done=fail, ends=2
    )
    assert [call[0] for call in recorder.calls] == ["started", "event", "progress", "event", "done", "failed"]
    ((failure,),) = recorder("failed")
    assert "of the test" in failure.message, "a section that waits for an end gets one that it can show"
    assert loggedErrors.text.count("ValueError: of the test") == 5
    loggedErrors.clear()


@pytest.mark.parametrize(("code", "end"), [("sys.exit(2)", "failed"), ("sys.exit(130)", "cancelled")])
def test_an_error_in_the_last_callback_is_told_once(fake, code, end, loggedErrors):
    def fail(result):
        raise ValueError("of the test")

    recorder = run(fake(code), failed=fail, cancelled=fail, ends=2 if end == "cancelled" else 1)
    assert recorder.ends[0][0] == end and recorder.ends[-1][0] == "failed"
    loggedErrors.clear()


def test_the_command_comes_first_and_then_events_and_the_options_unchanged(fake, tmp_path):
    options = ["--name", AWKWARD, "", "a b", "\\", "'", '"', Path("x") / "y", 3]
    recorder = run(fake("say('done', argv=sys.argv[1:], cwd=os.getcwd())"), ["predict", *options])
    ((event,),) = recorder("done")
    assert event["argv"] == ["predict", "--events", *map(str, options)]
    assert event["cwd"] == str(tmp_path / "fake engine")


def test_the_environment_is_that_of_slicers_start_without_other_pythons(fake, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", "/somewhere")
    monkeypatch.setenv("PYTHONHOME", sys.prefix + "x")
    monkeypatch.setenv("PYTHONSAFEPATH", "1")
    monkeypatch.setenv("METASSL_TEST", "ü")
    names = ("PYTHONPATH", "METASSL_TEST", "PYTHONUTF8", "PYTHONNOUSERSITE")
    ((event,),) = run(fake(f"say('done', found=[os.environ.get(name) for name in {names}])"))("done")
    assert event["found"] == [None, "ü", "1", "1"]


def test_the_package_beside_the_module_wins_over_an_installed_one(fake):
    """In this repository the engine is installed too."""
    ((event,),) = run(fake("import metassl\nsay('done', file=metassl.__file__)"))("done")
    assert "fake engine" in event["file"]


# How it ends


@pytest.mark.parametrize("code", [1, 2, 3, 4, 5, 77, 255])
def test_every_exit_code_becomes_a_failure_with_a_sentence(fake, code):
    recorder = run(fake(f"print('the reason', file=sys.stderr)\nsys.exit({code})"))
    ((failure,),) = recorder("failed")
    assert failure.exitCode == code and failure.message and failure.remedy
    assert "the reason" in failure.message


def test_the_engines_own_error_and_hint_are_shown(fake):
    code = "say('error', message='case_1 is broken.', hint='Remove it.', code=2)\nsys.exit(2)"
    ((failure,),) = run(fake(code))("failed")
    assert failure.text() == "case_1 is broken.\nRemove it."


def test_exit_code_130_is_cancelled(fake):
    ((event,),) = run(fake("say('done', stopped=True)\nsys.exit(130)"))("cancelled")
    assert event["stopped"]


def test_exit_code_0_without_done_is_a_failure(fake):
    ((failure,),) = run(fake("say('start')"))("failed")
    assert "without a result" in failure.message


def test_done_followed_by_another_exit_code_is_a_failure(fake):
    ((failure,),) = run(fake("say('done')\nsys.exit(1)"))("failed")
    assert failure.exitCode == 1


@posixOnly
@pytest.mark.parametrize("death", ["os.abort()", "os.kill(os.getpid(), signal.SIGKILL)", "os.kill(os.getpid(), 11)"])
@pytest.mark.parametrize("behindLauncher", [False, True])
def test_a_crash_is_called_one_also_behind_slicers_launcher(fake, launcher, death, behindLauncher):
    ((failure,),) = run(fake(f"say('start')\n{death}", program=launcher if behindLauncher else None))("failed")
    assert "The system ended the engine" in failure.message and "memory" in failure.remedy


@posixOnly
@pytest.mark.parametrize("behindLauncher", [False, True])
def test_a_crash_after_the_last_word_loses_no_result(fake, launcher, behindLauncher):
    """GPU libraries crash when Python ends; by then everything is saved."""
    program = launcher if behindLauncher else None
    assert run(fake("say('done', n=1)\nos.abort()", program=program))("done") == [({"event": "done", "n": 1},)]
    ((event,),) = run(fake("say('done', stopped=True)\nos.abort()", program=program))("cancelled")
    assert event["stopped"]


def test_an_engine_that_goes_on_after_its_last_word_is_ended(fake, monkeypatch):
    monkeypatch.setattr(engineProcessModule, "SECONDS_TO_EXIT", 0.3)
    monkeypatch.setattr(engineProcessModule, "SECONDS_FOR_LAUNCHER", 1)
    start = time.monotonic()
    assert run(fake("say('done', n=1)\ntime.sleep(100)"))("done") == [({"event": "done", "n": 1},)]
    ((failure,),) = run(fake("say('error', message='No.', code=2)\ntime.sleep(100)"))("failed")
    assert failure.message == "No." and time.monotonic() - start < 10


def test_an_engine_that_closes_its_output_early_is_waited_for(fake, tmp_path):
    code = "os.close(1)\nos.close(2)\ntime.sleep(0.5)\nopen('saved', 'w').close()\nos._exit(0)"
    ((failure,),) = run(fake(code))("failed")
    assert "without a result" in failure.message
    assert (tmp_path / "fake engine" / "saved").exists()


def test_an_engine_that_closes_its_input_can_be_stopped_all_the_same(fake):
    engine, recorder = fake("os.close(0)\nsay('start')\ntime.sleep(100)"), Recorder()
    engine.start(["train"], recorder)
    waitUntil(lambda: recorder("event"))
    engine.stop(graceSeconds=0.2)
    waitUntil(lambda: not engine.isRunning)
    assert recorder.ends == [("cancelled", None)]


def test_a_missing_program_fails_with_its_name_and_the_next_start_works(fake, tmp_path):
    engine = fake("say('done')", program=tmp_path / "no such Python")
    ((failure,),) = run(engine)("failed")
    assert "no such Python" in failure.message and failure.exitCode is None
    engine.program = sys.executable
    assert run(engine)("done")


def test_a_program_that_may_not_run_fails_with_its_name(fake, tmp_path):
    program = tmp_path / "plain text"
    program.write_text("")
    ((failure,),) = run(fake("", program=program))("failed")
    assert "plain text" in failure.message


def test_a_missing_engine_folder_is_a_failure(tmp_path):
    ((failure,),) = run(EngineProcess(tmp_path / "gone"))("failed")
    assert failure.message


def test_an_engine_folder_without_the_engine_says_what_python_says(tmp_path):
    """A package that shadows the installed engine."""
    (tmp_path / "metassl").mkdir()
    (tmp_path / "metassl" / "__init__.py").touch()
    ((failure,),) = run(EngineProcess(tmp_path))("failed")
    assert "metassl.__main__" in failure.message


# Stopping

POLITE = """
say('start')
sys.stdin.readline()
print('saving', file=sys.stderr)
say('done', stopped=True, iterations=5)
sys.exit(130)
"""
STUBBORN = """
for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, signal.SIG_IGN)
say('start', own=os.getpid())
while True:
    time.sleep(0.1)
"""


def running(engine, **reactions):
    """A command that was started and has said its first event."""
    recorder = Recorder(**reactions)
    engine.start(["train"], recorder)
    waitUntil(lambda: recorder("event"))
    return recorder


def ended(engine, seconds=10):
    waitUntil(lambda: not engine.isRunning, seconds, "the engine to end")
    assertNothingIsLeft(engine)


@posixOnly
@pytest.mark.parametrize("behindLauncher", [False, True])
def test_a_polite_engine_saves_and_is_cancelled_with_its_last_event(fake, launcher, behindLauncher):
    engine = fake(POLITE, program=launcher if behindLauncher else None)
    recorder = running(engine)
    engine.stop()
    assert engine.isStopping and engine.isRunning
    ended(engine)
    assert recorder.ends == [("cancelled", {"event": "done", "stopped": True, "iterations": 5})]


def test_a_stop_right_after_the_start_is_heard(fake):
    engine, recorder = fake(POLITE), Recorder()
    engine.start(["train"], recorder)
    engine.stop()
    ended(engine)
    assert [call[0] for call in recorder.ends] == ["cancelled"]


def test_stopping_twice_is_asking_once(fake):
    code = "say('start')\nheard = sys.stdin.readline() + sys.stdin.readline()\nsay('done', heard=heard)"
    engine = fake(code)
    recorder = running(engine)
    told = []
    engine.stateChanged.append(lambda: told.append((engine.isRunning, engine.isStopping)))
    engine.stop(graceSeconds=0.5)
    engine.stop(graceSeconds=0.5)
    ended(engine)
    assert told[0] == (True, True) and told.count((True, True)) <= 2, "told when asked and when killed"
    assert recorder.ends == [("cancelled", None)], "a second line never came"


def test_work_that_was_finished_before_the_stop_was_heard_is_done(fake):
    engine = fake("say('start')\nsys.stdin.readline()\nsay('done', iterations=9)")
    recorder = running(engine)
    engine.stop()
    ended(engine)
    assert recorder.ends == [("done", {"event": "done", "iterations": 9})]


@posixOnly
@pytest.mark.parametrize("behindLauncher", [False, True])
def test_an_engine_that_ignores_everything_is_killed_after_the_grace_period(fake, launcher, behindLauncher):
    """The engine itself, not only the launcher: it would go on writing into the run folder."""
    engine = fake(STUBBORN, program=launcher if behindLauncher else None)
    recorder = running(engine)
    pid = recorder("event")[0][0]["own"]
    with LatencyMonitor() as latency:
        engine.stop(graceSeconds=0.5)
        processEvents(200)
        assert engine.isRunning, "the grace period is kept"
        ended(engine)
    assert recorder.ends == [("cancelled", None)]
    assert not isAlive(pid)
    assert latency.busiest < 100


@posixOnly
@pytest.mark.parametrize("behindLauncher", [False, True])
def test_kill_ends_the_engine_at_once(fake, launcher, behindLauncher):
    engine = fake(STUBBORN, program=launcher if behindLauncher else None)
    recorder = running(engine)
    pid = recorder("event")[0][0]["own"]
    start = time.monotonic()
    engine.kill()
    engine.kill()
    ended(engine)
    assert time.monotonic() - start < 2 and not isAlive(pid)
    assert recorder.ends == [("cancelled", None)]


@posixOnly
def test_a_launcher_that_does_not_notice_the_end_of_its_engine_is_killed_too(fake, tmp_path, monkeypatch):
    monkeypatch.setattr(engineProcessModule, "SECONDS_FOR_LAUNCHER", 0.3)
    program = tmp_path / "sleepy"
    program.write_text(
        f"#!{sys.executable}\nimport subprocess, sys, time\n"
        "subprocess.call([sys.executable, *sys.argv[1:]])\ntime.sleep(100)\n"
    )
    program.chmod(0o700)
    engine = fake(STUBBORN, program=program)
    recorder = running(engine)
    engine.kill()
    ended(engine, 5)
    assert recorder.ends == [("cancelled", None)]


def test_a_kill_before_the_engine_said_anything_works(fake):
    engine, recorder = fake(STUBBORN), Recorder()
    engine.start(["train"], recorder)
    engine.kill()
    ended(engine)
    assert recorder.ends == [("cancelled", None)]


@pytest.mark.parametrize("pid", ["0", "-1", "1", "None", "True", "'x'", "10**30", "2**22 + 5"])
def test_a_process_number_that_is_none_kills_nobody_else(fake, pid, monkeypatch):
    monkeypatch.setattr(
        engineProcessModule, "STARTER", "import runpy; runpy.run_module('metassl', run_name='__main__')"
    )
    killed, kill = [], os.kill
    monkeypatch.setattr(os, "kill", lambda number, how: killed.append(number) or kill(number, 0))
    engine = fake(f"say('process', pid={pid})\n" + STUBBORN)
    recorder = running(engine)
    engine.kill()
    ended(engine)
    assert recorder.ends == [("cancelled", None)]
    assert all(number > 1 for number in killed)


def test_stop_and_kill_without_a_command_do_nothing(fake):
    engine = fake("")
    engine.stop()
    engine.kill()
    engine.shutDown()
    assertNothingIsLeft(engine)


# One after the other


def test_only_one_command_runs_at_a_time(fake):
    engine = fake(POLITE)
    recorder = running(engine)
    with pytest.raises(RuntimeError, match="busy"):
        engine.start(["train"], Recorder())
    engine.stop()
    ended(engine)
    assert len(recorder.ends) == 1


@pytest.mark.parametrize(
    "code", ["say('done')", "sys.exit(2)", "sys.exit(130)", "os._exit(3)"], ids=["done", "failed", "cancelled", "exit"]
)
def test_the_next_command_may_start_from_the_callback_of_the_ones_end(fake, code):
    engine, second = fake(code), Recorder()

    def again(_result):
        assert not engine.isRunning
        engine.start(["check"], second)

    first = Recorder(done=again, failed=again, cancelled=again)
    engine.start(["train"], first)
    waitUntil(lambda: second.ends)
    ended(engine)
    assert len(first.ends) == len(second.ends) == 1


def test_the_next_command_may_start_from_a_failure_to_start(fake, tmp_path):
    engine, second = fake("say('done')", program=tmp_path / "gone"), Recorder()

    def again(_failure):
        engine.program = sys.executable
        engine.start(["check"], second)

    engine.start(["train"], Recorder(failed=again))
    waitUntil(lambda: second.ends)
    assert second("done")
    ended(engine)


def test_state_is_told_at_start_and_end(fake):
    engine, states = fake("say('done')"), []
    engine.stateChanged.append(lambda: states.append(engine.isRunning))
    run(engine)
    assert states == [True, False]


def test_the_grace_period_of_one_command_does_not_end_the_next(fake):
    engine = fake(POLITE)
    recorder = running(engine)
    engine.stop(graceSeconds=0.6)
    ended(engine)
    second = running(engine)
    processEvents(1000)
    assert engine.isRunning and not second.ends and not engine.isStopping
    engine.stop()
    ended(engine)
    assert len(recorder.ends) == 1


def test_many_commands_leave_no_process_timer_or_callback(fake):
    engine, recorders = fake("say('done')"), []
    before = {id(thing) for thing in gc.get_objects()}
    for _n in range(20):
        recorder = run(engine)
        recorders.append(weakref.ref(recorder))
    del recorder
    processEvents(50)
    gc.collect()
    new = [thing for thing in gc.get_objects() if id(thing) not in before]
    assert [thing for thing in new if isinstance(thing, qt.QProcess | qt.QTimer) and _belongs(thing)] == []
    assert [reference() for reference in recorders if reference() is not None] == []


def _belongs(thing):
    import shiboken6

    return shiboken6.isValid(thing) and not thing.parent()


# Closing Slicer


def test_shutting_down_lets_a_polite_engine_save_and_calls_nobody(fake, tmp_path):
    engine = fake(POLITE.replace("sys.exit(130)", "open('saved', 'w').close()\nsys.exit(130)"))
    recorder = running(engine)
    states = []
    engine.stateChanged.append(lambda: states.append(1))
    before = list(recorder.calls)
    engine.shutDown()
    assert (tmp_path / "fake engine" / "saved").exists()
    processEvents(50)
    assert recorder.calls == before and states == []
    assertNothingIsLeft(engine)
    assert run(engine, ["check"], started=lambda: engine.stop())("cancelled"), "can be used again, as by the self-test"
    assert states, "those who listened still do"


@posixOnly
@pytest.mark.parametrize("behindLauncher", [False, True])
def test_shutting_down_kills_an_engine_that_ignores_everything(fake, launcher, behindLauncher):
    engine = fake(STUBBORN, program=launcher if behindLauncher else None)
    recorder = running(engine)
    pid = recorder("event")[0][0]["own"]
    start = time.monotonic()
    engine.shutDown(seconds=0.3)
    assert time.monotonic() - start < 2
    assert not isAlive(pid) and recorder.ends == []
    assertNothingIsLeft(engine)


def test_shutting_down_from_a_callback_is_possible(fake):
    """What came in the same breath is for nobody any more."""
    engine = fake('os.write(1, b\'{"event": "start"}\\n{"event": "done"}\\nx\\n\')\ntime.sleep(100)')
    recorder = Recorder(event=lambda event: engine.shutDown(0.2))
    with failOnCallbackErrors():
        engine.start(["train"], recorder)
        waitUntil(lambda: recorder("event"))
        waitUntil(lambda: not engine.isRunning)
        processEvents(50)
    assert recorder("event") == [({"event": "start"},)] and recorder.ends == []
    assertNothingIsLeft(engine)


def test_shutting_down_from_the_last_events_callback_is_possible(fake):
    engine = fake('os.write(1, b\'{"event": "done"}\')')
    recorder = Recorder(event=lambda event: engine.shutDown(0.2))
    engine.start(["train"], recorder)
    waitUntil(lambda: not engine.isRunning)
    processEvents(50)
    assert recorder.ends == []


ORPHAN = """
import sys
sys.path[:0] = sys.argv[1:3]
from harness import minislicer; minislicer.bootstrap()
from harness.interaction import waitUntil
from MetaSSLSegmentLib.Engine.EngineProcess import EngineListener, EngineProcess
engine = EngineProcess(sys.argv[3], sys.argv[4])
def tell(event):
    if event["event"] == sys.argv[5]:
        print("engine", engine._pid, flush=True)
engine.start(sys.argv[6:], EngineListener(event=tell, failed=lambda failure: print(failure.text(), flush=True)))
waitUntil(lambda: not engine.isRunning, 300)
"""


def parentOf(engineFolder, program, event, *command):
    """A Slicer of its own with a running engine; returns (its process, number of the engine's process)."""
    arguments = [FOLDER, ENGINE, engineFolder, program, event, *command]
    parent = subprocess.Popen([sys.executable, "-c", ORPHAN, *map(str, arguments)], stdout=subprocess.PIPE, text=True)
    line = parent.stdout.readline().split()
    assert line[:1] == ["engine"], line
    return parent, int(line[1])


@posixOnly
@pytest.mark.parametrize("behindLauncher", [False, True])
def test_an_engine_whose_slicer_was_killed_saves_and_exits(fake, launcher, tmp_path, behindLauncher):
    engine = fake("say('start')\nif not sys.stdin.readline():\n    open('saved', 'w').close()")
    program = launcher if behindLauncher else sys.executable
    parent, pid = parentOf(engine.engineFolder, program, "start", "train")
    assert isAlive(pid)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    waitUntil(lambda: not isAlive(pid), 10, "the engine to end")
    assert (tmp_path / "fake engine" / "saved").exists()


# A flood


@pytest.mark.parametrize(
    "code",
    [
        "for n in range(1000000): sys.stdout.write('x\\n')\n",
        'for n in range(100000): sys.stdout.write(\'{"event": "metrics", "loss": %d}\\n\' % n)\n',
        'for n in range(100000): sys.stdout.write(\'{"event": "progress", "fraction": 0.5}\\n\')\n',
        "sys.stdout.write('y' * 50000000 + '\\n')\n",
        "for n in range(300000): sys.stderr.write('warning %d\\n' % n)\n",
    ],
    ids=["lines", "events", "progress", "one line", "standard error"],
)
def test_a_flood_of_output_does_not_hold_up_the_event_loop(fake, code, record_property):
    engine, view, bar = fake(code + "sys.stdout.flush()\nsay('done')"), qt.QPlainTextEdit(), qt.QProgressBar()
    view.setMaximumBlockCount(5000)
    ends = []
    listener = EngineListener(
        log=view.appendPlainText,
        progress=lambda phase, fraction, left, text: bar.setValue(int(100 * fraction)),
        done=ends.append,
    )
    with LatencyMonitor() as latency:
        engine.start(["train"], listener)
        waitUntil(lambda: not engine.isRunning, 100)
    print(f"event loop latency: {latency}")
    record_property("latency_maximum_ms", latency.maximum)
    record_property("busiest_ms", latency.busiest)
    assert ends == [{"event": "done"}]
    assert latency.busiest < 100


def test_of_a_flood_the_log_shows_the_end_and_how_much_was_left_out(fake):
    code = "sys.stdout.write('x\\n' * 5000 + 'y' * 50000 + '\\nlast\\n')\ntime.sleep(0.2)\nsay('done')"
    text = run(fake(code)).text
    assert text.endswith("last") and "more lines" in text
    assert len(text) < 20000


# The real engine


def test_info_of_the_real_engine_names_the_device(real):
    ((facts,),) = run(real, ["info"], 60)("done")
    assert facts["device"].split(":")[0] in ("cpu", "cuda", "mps") and facts["torch"]


def test_the_real_engine_explains_what_is_wrong_in_words_for_slicer(real, tmp_path):
    ((failure,),) = run(real, ["check", tmp_path / "nothing" / "dataset.json"], 60)("failed")
    assert "dataset.json" in failure.message and failure.remedy and failure.exitCode == 2
    ((failure,),) = run(real, ["check"], 60)("failed")
    assert "required" in failure.message, "what argparse says is shown"
    ((failure,),) = run(real, ["fly"], 60)("failed")
    assert "fly" in failure.message


@posixOnly
def test_paths_with_spaces_quotes_and_other_scripts_work_from_start_to_end(tmp_path):
    """Engine, data and run folder; a training is stopped, resumed from its run folder and stopped again."""
    home = tmp_path / AWKWARD
    (home / "engine").mkdir(parents=True)
    (home / "engine" / "metassl").symlink_to(ENGINE / "metassl", target_is_directory=True)
    engine = EngineProcess(home / "engine")
    dataset = make_sample(home / "data", labelled=2, unlabelled=2, test=0)
    assert run(engine, ["check", dataset], 60)("done")
    commands = (
        ["train", dataset, "--out", home / "run", "--iterations", 100000, "--network", "small", "--threads", 1],
        ["train", "--resume", home / "run"],
    )
    steps = []

    def stopWhenLearning(event):
        if event["event"] == "metrics":
            engine.stop()

    for command in commands:
        with LatencyMonitor() as latency:
            recorder = run(engine, command, 120, event=stopWhenLearning)
        assert [call[0] for call in recorder.ends] == ["cancelled"], recorder.calls[-1]
        ((last,),) = recorder("cancelled")
        steps.append(last["iterations"])
        assert last["stopped"] and Path(last["model"]).is_dir()
        assert latency.busiest < 100
    assert steps[1] > steps[0] > 0
    assert {phase for phase, *_rest in recorder("progress")}


@posixOnly
def test_a_training_whose_slicer_was_killed_saves_and_can_be_resumed(tmp_path, launcher):
    dataset = make_sample(tmp_path / "data", labelled=2, unlabelled=2, test=0)
    command = (
        "train",
        dataset,
        "--out",
        tmp_path / "run",
        "--iterations",
        100000,
        "--network",
        "small",
        "--threads",
        1,
    )
    parent, pid = parentOf(ENGINE, launcher, "metrics", *command)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    waitUntil(lambda: not isAlive(pid), 60, "the engine to save and end")
    last = json.loads((tmp_path / "run" / "events.jsonl").read_text().splitlines()[-1])
    assert last["event"] == "done" and last["stopped"] and last["iterations"] > 0
    assert (tmp_path / "run" / "checkpoint.pt").exists()
