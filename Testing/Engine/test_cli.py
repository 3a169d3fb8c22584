import itertools
import json
import os
import re
import signal
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
from metassl import __version__
from metassl.cli.main import build_parser, explain, main
from metassl.cli.options import job_given
from metassl.cli.stopping import stop_requests
from metassl.data.dataset import Dataset
from metassl.errors import DiskError, InputError, OutOfMemoryError
from metassl.job import GROUPS, RENAMED, Job
from volumes import label, write

COMMANDS = ("sample", "prepare", "check", "train", "predict", "evaluate", "info", "rank", "audit", "report")
HEAVY = ("torch", "monai", "skimage", "SimpleITK", "numpy")


PARENT, _WRITE_END = os.pipe()
"""Standard input of a child whose parent stays alive."""


def metassl(*arguments, **options):
    command = [sys.executable, "-m", "metassl", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, encoding="utf-8", **{"stdin": PARENT, **options})


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help_explains_without_loading_anything_heavy(command):
    code = (
        "import sys\nfrom metassl.cli.main import main\n"
        "try: main(sys.argv[1:])\nexcept SystemExit as e: assert e.code == 0\n"
        f"print([m for m in {HEAVY} if m in sys.modules], file=sys.stderr)"
    )
    arguments = [command, "--help"] if command else ["--help"]
    result = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, encoding="utf-8")
    assert result.returncode == 0, result.stderr
    assert result.stderr.strip() == "[]"
    assert "usage: metassl" in result.stdout and max(map(len, result.stdout.splitlines())) <= 100
    for word in COMMANDS if not command else ("example:",):
        assert word in result.stdout


def test_every_setting_is_an_option_with_its_explanation():
    text = metassl("train", "--help", env={**os.environ, "COLUMNS": "200"}).stdout
    for item in fields(Job):
        assert f"--{item.name.replace('_', '-')}" in text
        assert " ".join(item.metadata["help"].split()) in " ".join(text.split())


def test_settings_reach_the_job():
    arguments = (
        "train d.json --out r --method cps --patch 8 16 24 --spacing 1 2 3.5 --mirror-axes LR IS --minutes 0.5 --seed 7"
    )
    args = build_parser().parse_args(arguments.split())
    assert (args.method, args.patch, args.spacing, args.mirror_axes) == (
        "cps",
        [8, 16, 24],
        [1.0, 2.0, 3.5],
        ["LR", "IS"],
    )
    assert (args.minutes, args.seed) == (0.5, 7) and not hasattr(args, "iterations")


def job_of(options):
    return job_given(build_parser().parse_args(["train", "d.json", "--out", "r", *options.split()]))


def test_help_has_the_settings_in_groups_and_hides_the_names_of_before():
    text = metassl("train", "--help").stdout
    places = [text.index(f"\n{group}:\n") for group in GROUPS]
    assert places == sorted(places) and GROUPS[-1] == "expert"
    ends = [*places[1:], len(text)]
    for item in fields(Job):
        group = GROUPS.index(item.metadata["group"])
        assert f"\n  --{item.name.replace('_', '-')} " in text[places[group] : ends[group]], item.name
    assert not any(f"--{name} " in text for name in RENAMED)


@pytest.mark.parametrize(
    ("former", "present"),
    [
        ("--weights paper", "--region-weights paper"),
        ("--normalisation region", "--reduction region"),
        ("--mirror LR IS", "--mirror-axes LR IS"),
        ("--annotations judged", "--annotation-trust on"),
        ("--annotations alike", "--annotation-trust off"),
        ("--ema 0.9", "--ema-decay 0.9"),
    ],
)
def test_options_of_before_are_still_understood(former, present):
    assert job_of(former) == job_of(present) and (former.endswith("judged") or job_of(former) != Job())


def test_an_unknown_value_of_an_option_of_before_is_refused():
    with pytest.raises(InputError, match="region_weights is 'heavy'; use one of mild, paper, released-code"):
        job_of("--weights heavy")


def test_sizes_and_spacings_are_given_as_people_think():
    """Right-left first, as Slicer shows them, where the job has array order: so is every setting of three numbers."""
    triples = [item.name for item in fields(Job) if re.search(r"tuple\[(int|float), \1, \1\]", str(item.type))]
    assert triples == ["patch", "spacing"]
    for name in triples:
        assert getattr(job_of(f"--{name} 16 24 32"), name) == (32, 24, 16)
        assert f"--{name} I J K" in metassl("train", "--help").stdout


def test_bare_metassl_explains_itself():
    result = metassl()
    assert result.returncode == 0 and result.stdout == metassl("--help").stdout and result.stderr == ""


def test_version():
    assert metassl("--version").stdout.strip() == f"metassl {__version__}"


def test_info_names_versions_and_device():
    result = metassl("info", "--events")
    facts = json.loads(result.stdout)
    assert facts["event"] == "done" and facts["metassl"] == __version__
    assert facts["torch"] and facts["monai"] and ":" in facts["device"]
    assert "scikit-image" in metassl("info").stdout


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("raise ImportError('DLL load failed')", "skimage is installed but cannot be loaded: DLL load failed"),
        ("import no_such_part", "skimage is installed but cannot be loaded: No module named 'no_such_part'"),
    ],
)
def test_info_tells_a_broken_package_from_a_missing_one(tmp_path, content, says):
    (tmp_path / "skimage").mkdir()
    (tmp_path / "skimage" / "__init__.py").write_text(content)
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    result = metassl("info", "--events", env={**os.environ, "PYTHONPATH": path})
    assert result.returncode == 4 and says in json.loads(result.stdout.splitlines()[-1])["message"]


def test_a_library_that_windows_cannot_load_is_no_trouble_with_the_disk():
    error = OSError(22, "The specified module could not be found")
    error.winerror = 126
    assert explain(error).exit_code == 4 and "cannot be loaded" in str(explain(error))
    assert explain(ImportError("DLL load failed")).exit_code == 4


def test_prepare_and_check_from_the_command_line(tmp_path):
    assert metassl("sample", "--out", tmp_path / "s", "--labelled", 1, "--unlabelled", 1, "--test", 1).returncode == 0
    result = metassl("prepare", tmp_path / "s", "--ignored", "sample_002", "--out", tmp_path / "d.json", "--events")
    done = json.loads(result.stdout.splitlines()[-1])
    assert done["event"] == "done" and done["cases"] == {"labelled": 1, "unlabelled": 1, "hold-out": 0, "ignored": 1}
    fine = metassl("check", tmp_path / "d.json")
    assert fine.returncode == 0
    (tmp_path / "s" / "images" / "sample_000.nii.gz").write_bytes(b"junk")
    bad = metassl("check", tmp_path / "d.json")
    assert bad.returncode == 2 and "sample_000" in bad.stdout and "cannot be read" in bad.stdout
    events = metassl("check", tmp_path / "d.json", "--events").stdout.splitlines()
    *_, report, error = map(json.loads, events)
    assert report["event"] == "report" and report["excluded"] == ["sample_000"] and "sample_001" in report["measured"]
    assert error["event"] == "error" and error["code"] == 2


@pytest.fixture
def three_cases(tmp_path, monkeypatch):
    """The current folder has a folder SOURCE with three labelled cases."""
    monkeypatch.chdir(tmp_path)
    for name in "abc":
        write(Path("SOURCE", "images", f"{name}.nrrd"), np.zeros((6, 6, 6)))
        write(Path("SOURCE", "labels", f"{name}.nrrd"), label(1))


ORDERS = list(itertools.permutations(("SOURCE", "--labelled a b", "--hold-out c", "--out d.json")))


@pytest.mark.parametrize("order", ORDERS)
def test_no_role_swallows_the_source(order, three_cases):
    assert main(["prepare", *" ".join(order).split()]) == 0
    assert {case.id: case.role for case in Dataset.load("d.json").cases} == {
        "a": "labelled",
        "b": "labelled",
        "c": "hold-out",
    }


@pytest.mark.parametrize("words", ["", "--labelled a b", "--labelled a b NO-SUCH-FOLDER", "--labelled SOURCE"])
def test_a_missing_source_is_said(words, three_cases, capsys):
    assert main(["prepare", *words.split(), "--out", "d.json"]) == 2
    assert "metassl prepare needs SOURCE" in capsys.readouterr().err and not Path("d.json").exists()


def test_of_several_paths_the_one_behind_the_last_role_is_the_source(three_cases):
    Path("b").mkdir()  # as where the current folder holds a folder for every case
    assert main(["prepare", "--labelled", "a", "b", "--hold-out", "c", "SOURCE", "--out", "d.json"]) == 0
    assert len(Dataset.load("d.json").with_role("labelled")) == 2


@pytest.mark.parametrize(
    ("chosen", "count"), [({}, "10000"), ({"GOMP_SPINCOUNT": "5"}, "5"), ({"OMP_WAIT_POLICY": "active"}, "None")]
)
def test_waiting_threads_give_way_unless_the_user_says_otherwise(chosen, count):
    code = "import os, metassl.cli.main as cli; cli.main(['check', 'no.json']); print(os.environ.get('GOMP_SPINCOUNT'))"
    clean = {name: value for name, value in os.environ.items() if name not in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")}
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=clean | chosen)
    assert result.stdout.split()[-1] == count, result.stderr


def test_names_that_the_terminal_cannot_show_do_no_harm(tmp_path):
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    write(tmp_path / "Fälle" / "images" / "ü.nii.gz", np.zeros((6, 6, 6)))  # constant: something to say about it
    write(tmp_path / "Fälle" / "labels" / "ü.nii.gz", label(1))
    made = metassl("prepare", tmp_path / "Fälle", "--out", tmp_path / "d.json", env=environment)
    assert made.returncode == 0, made.stderr
    checked = metassl("check", tmp_path / "d.json", env=environment)
    assert checked.returncode == 2 and "\\xfc" in checked.stdout and "Traceback" not in checked.stderr


def test_an_error_is_the_last_event(tmp_path):
    result = metassl("check", tmp_path / "no.json", "--events")
    assert result.returncode == 2
    event = json.loads(result.stdout.splitlines()[-1])
    assert event["event"] == "error" and event["code"] == 2 and "does not exist" in event["message"] and event["hint"]


def test_no_budget_twice(tmp_path):
    (tmp_path / "d.json").write_text("{}")
    result = metassl("train", tmp_path / "d.json", "--out", tmp_path / "r", "--minutes", 1, "--iterations", 1)
    assert result.returncode == 2 and "Give one budget" in result.stderr


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (InputError("bad", "mend"), 2, "bad"),
        (MemoryError(), 3, "Not enough memory"),
        (OutOfMemoryError("full", ""), 3, "full"),
        (ModuleNotFoundError("No module named 'monai'", name="monai"), 4, "monai is not installed"),
        (OSError(28, "No space left on device", "x.nrrd"), 5, "x.nrrd: No space left"),
        (DiskError("disk"), 5, "disk"),
        (ZeroDivisionError("division"), 1, "ZeroDivisionError"),
    ],
)
def test_exit_codes(error, code, words):
    known = explain(error)
    assert known.exit_code == code and words in str(known)


def test_a_missing_package_is_said(tmp_path):
    # an empty folder before everything else hides monai, as on a Slicer without it
    code = "import sys; sys.modules['monai'] = None\nfrom metassl.cli.main import main\nsys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-c", code, "evaluate", str(tmp_path), str(tmp_path)]
    result = subprocess.run(command, capture_output=True, encoding="utf-8")
    assert result.returncode == 4 and "monai" in result.stderr and "pip install monai" in result.stderr


def test_a_defect_shows_its_traceback(monkeypatch):
    monkeypatch.setattr("metassl.cli.commands.Dataset.load", lambda _: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        main(["check", "d.json"])


def test_the_second_interrupt_does_not_wait():
    before = signal.getsignal(signal.SIGINT)  # ignored where a shell started the tests in the background
    with stop_requests(events=False) as should_stop:
        signal.raise_signal(signal.SIGINT)
        assert should_stop()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before
