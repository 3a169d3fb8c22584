"""What is installed, what is missing, and its installation, on a site-packages folder made for each test."""

import inspect
import json
import os
import re
import subprocess
import sys
import types
from pathlib import Path

import packaging.requirements  # noqa: F401 (the tests take the folder that holds it out of sys.path)
import pytest
import slicer
from harness import packages
from harness.interaction import failOnCallbackErrors, waitUntil
from MetaSSLSegmentLib.Engine.Failure import failureOf
from MetaSSLSegmentLib.Engine.Requirements import InstallationError, Requirements
from pip._vendor.packaging import requirements as _ofPip  # noqa: F401 (likewise)
from user import FOLDER, MODULE, User

FILE = MODULE.parent / "Resources" / "requirements.txt"
SLICERS_OWN = {"numpy": "2.1.2", "SimpleITK": "2.5.0rc2.dev3+gabc", "packaging": "24.0"}


class Site:
    """A site-packages folder with made-up packages.

    Args:
        folder: where it is.
    """

    def __init__(self, folder):
        self.folder = folder
        folder.mkdir()

    def add(self, name, version, requires=()):
        """Install a package, or another version of it; its module has the package's name."""
        self.remove(name)
        info = self.folder / f"{name.replace('-', '_')}-{version}.dist-info"
        info.mkdir()
        lines = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}"]
        lines += [f"Requires-Dist: {text}" for text in requires]
        (info / "METADATA").write_text("\n".join(lines) + "\n")
        (info / "top_level.txt").write_text(name.replace("-", "_") + "\n")

    def remove(self, name):
        for info in self.folder.glob(f"{name.replace('-', '_')}-*.dist-info"):
            for file in info.iterdir():
                file.unlink()
            info.rmdir()


@pytest.fixture
def site(tmp_path, monkeypatch):
    """Where packages are found; Slicer's own are there."""
    made = Site(tmp_path / "site packages ü")
    for name, version in SLICERS_OWN.items():
        made.add(name, version)
    monkeypatch.setattr(sys, "path", [str(made.folder)])
    for name in ("PyTorchUtils", "torch", "monai", "skimage", "scikit_image"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return made


@pytest.fixture
def complete(site):
    """Everything is there."""
    site.add("torch", "2.13.0+cu128")
    site.add("monai", "1.5.0", ["torch>=2.4", "numpy"])
    site.add("scikit-image", "0.25.2", ["numpy", "packaging>=21"])
    return site


@pytest.fixture
def pip(site, monkeypatch):
    """Stands for slicer.packaging.pip_ensure: remembers its calls and installs what is in `offers`."""
    calls = []

    def ensure(requirements, **options):
        inspect.signature(packages.pip_ensure).bind(requirements, **options)
        options["held"] = Path(options["constraints"]).read_text().splitlines()
        calls.append((requirements, options))
        for text in requirements:
            name = re.split("[<>=!~]", text)[0]
            if name in ensure.offers:
                site.add(name, ensure.offers[name])

    ensure.calls, ensure.offers = calls, {"monai": "1.6.1", "scikit-image": "0.26.0"}
    monkeypatch.setattr(slicer.packaging, "pip_ensure", ensure)
    return ensure


@pytest.fixture
def pytorch(site, monkeypatch):
    """The PyTorch extension's module."""
    calls = []

    class PyTorchUtilsLogic:
        def installTorch(
            self,
            askConfirmation=False,
            forceComputationBackend=None,
            torchVersionRequirement=None,
            torchvisionVersionRequirement=None,
        ):
            calls.append((askConfirmation, forceComputationBackend, torchVersionRequirement))
            return module.install()

    def install():
        site.add("torch", "2.13.0+cu128")
        return object()

    module = types.ModuleType("PyTorchUtils")
    module.PyTorchUtilsLogic, module.calls, module.install = PyTorchUtilsLogic, calls, install
    monkeypatch.setitem(sys.modules, "PyTorchUtils", module)
    return module


@pytest.fixture
def answers(monkeypatch):
    """Questions that were asked; `answers.say` is what the person says."""
    asked = types.SimpleNamespace(questions=[], say=True)

    def ask(text, *arguments, **options):
        asked.questions.append(text)
        return asked.say

    monkeypatch.setattr(slicer.util, "confirmOkCancelDisplay", ask)
    monkeypatch.setattr(slicer.util, "confirmYesNoDisplay", ask)
    return asked


@pytest.fixture
def manager(monkeypatch):
    """The extensions manager, with nothing installed and nothing on the server."""
    found = slicer.app.extensionsManagerModel()
    monkeypatch.setattr(found, "installed", set())
    monkeypatch.setattr(found, "serverHas", set())
    return found


# Looking


def test_the_requirements_file_can_be_read_and_names_what_the_engine_imports():
    assert set(Requirements(FILE).installed) == {"torch", "monai", "scikit-image"}


def test_everything_is_there(complete):
    requirements = Requirements(FILE)
    assert requirements.missing == [] and not requirements.needsRestart
    assert requirements.installed == {"torch": "2.13.0+cu128", "monai": "1.5.0", "scikit-image": "0.25.2"}


def test_nothing_is_there(site):
    requirements = Requirements(FILE)
    assert requirements.missing == ["torch>=2.5", "monai>=1.4", "scikit-image>=0.22"]
    assert set(requirements.installed.values()) == {None}


@pytest.mark.parametrize(
    ("version", "enough"),
    [
        ("2.9", True),
        ("2.10", True),
        ("2.9.0", True),
        ("3", True),
        ("2.8.9", False),
        ("2.08", False),
        ("1.10", False),
        ("2", False),
        ("2.9+cpu", True),
        ("2.13.0+cu128", True),
        ("2.8+cu999", False),
        ("2.9rc1", False),
        ("2.10rc1", True),
        ("2.10.0.dev20260101+cpu", True),
        ("2.9.0a0+git123", False),
        ("2.10.0a0+3bcc3cddb5.nv24.7", True),
        ("2.9.post1", True),
        ("unknown", False),
    ],
)
def test_versions_are_compared_as_python_packages_are(site, tmp_path, version, enough):
    (tmp_path / "requirements.txt").write_text("# a comment\n\n  torch>=2.9  \n")
    site.add("torch", version)
    requirements = Requirements(tmp_path / "requirements.txt")
    assert (requirements.missing == []) is enough
    assert requirements.installed == {"torch": version}


def test_the_remains_of_a_broken_installation_count_as_missing(complete):
    info = next(complete.folder.glob("monai-*"))
    (info / "METADATA").write_text("")
    assert Requirements(FILE).missing == ["monai>=1.4"]
    (info / "METADATA").unlink()
    assert Requirements(FILE).missing == ["monai>=1.4"]


def test_a_package_that_a_required_one_needs_is_missing_too(complete):
    """An installation that was cut short: without this, nothing would be offered and the engine could not start."""
    complete.add("scikit-image", "0.26", ["numpy", "lazy-loader>=0.4", "scipy", "pytest; extra == 'test'"])
    complete.add("scipy", "1.15", ["colours>=2", "windows-only; sys_platform == 'win96'"])
    assert Requirements(FILE).missing == ["lazy-loader>=0.4", "colours>=2"]
    complete.add("lazy_loader", "0.4", ["scikit_image"])
    complete.add("Colours", "1")
    assert Requirements(FILE).missing == [], "names in other spellings, circles, and versions that pip let pass"


def test_what_torch_brings_is_not_our_business(complete):
    """There are builds of torch that leave some of it out."""
    complete.add("torch", "2.13", ["triton", "nvidia-something"])
    assert Requirements(FILE).missing == []


def test_a_change_is_seen_when_looking_again(complete):
    requirements = Requirements(FILE)
    complete.remove("monai")
    requirements.look()
    assert requirements.missing == ["monai>=1.4"]
    complete.add("monai", "1.6")
    requirements.look()
    assert requirements.missing == []


def test_looking_imports_nothing_asks_nothing_and_starts_nothing():
    code = (
        "import sys; sys.path[:0] = sys.argv[1:3]\n"
        "from harness import minislicer; slicer = minislicer.bootstrap()\n"
        "import qt, subprocess\n"
        "def refuse(*arguments, **options): raise AssertionError('something was asked or started')\n"
        "subprocess.Popen = qt.QProcess.start = slicer.util.pip_install = slicer.packaging.pip_ensure = refuse\n"
        "slicer.util.confirmOkCancelDisplay = slicer.util.confirmYesNoDisplay = refuse\n"
        "from MetaSSLSegmentLib.Engine.Requirements import Requirements\n"
        "before = set(sys.modules)\n"
        "requirements = Requirements(sys.argv[3])\n"
        "assert requirements.missing == [], requirements.missing\n"
        "import json; print(json.dumps([name.partition('.')[0] for name in set(sys.modules) - before]))\n"
    )
    arguments = [sys.executable, "-c", code, FOLDER, MODULE.parent, FILE]
    run = subprocess.run(arguments, capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stderr
    assert not {"torch", "monai", "skimage", "numpy", "pip"} & set(json.loads(run.stdout.splitlines()[-1]))


# Installing


def test_torch_comes_first_and_the_others_go_with_it(site, pip, pytorch, answers):
    requirements = Requirements(FILE)
    requirements.install()
    assert pytorch.calls == [(False, None, ">=2.5")], "asked once only, by the panel"
    ((wanted, options),) = pip.calls
    assert wanted == ["monai>=1.4", "scikit-image>=0.22"]
    assert options["held"] == ["torch==2.13.0+cu128", f"SimpleITK=={SLICERS_OWN['SimpleITK']}", "numpy==2.1.2"]
    assert options["prompt_install"] is False and options["prompt_restart"] is False
    assert requirements.missing == [] and not requirements.needsRestart
    assert answers.questions == []


def test_only_what_is_missing_is_installed(complete, pip, pytorch):
    complete.add("monai", "1.3")
    Requirements(FILE).install()
    assert pytorch.calls == []
    assert [wanted for wanted, _options in pip.calls] == [["monai>=1.4"]]


def test_torch_alone_needs_no_pip(complete, pip, pytorch):
    complete.remove("torch")
    Requirements(FILE).install()
    assert len(pytorch.calls) == 1 and pip.calls == []


def test_nothing_missing_installs_nothing(complete, pip, pytorch):
    Requirements(FILE).install()
    assert pytorch.calls == [] and pip.calls == []


def test_what_is_asked_of_slicers_functions_exists_there():
    """Names and order as in Slicer 5.11-5.13."""
    names = (
        "requirements constraints skip_packages prompt_install prompt_restart requester skip_in_testing show_progress"
    )
    assert list(inspect.signature(packages.pip_ensure).parameters) == names.split()


def test_the_temporary_constraints_are_removed(complete, pip):
    complete.remove("monai")
    Requirements(FILE).install()
    assert not Path(pip.calls[0][1]["constraints"]).parent.exists()


def test_slicer_5_10_has_pip_install_only(complete, pip, pytorch, monkeypatch):
    calls = []

    def install(words):
        calls.append((words, Path(words[words.index("--constraint") + 1]).read_text().splitlines()))
        complete.add("monai", "1.5.1")

    complete.remove("monai")
    monkeypatch.delattr(slicer.packaging, "pip_ensure")
    monkeypatch.setattr(slicer.util, "pip_install", install)
    Requirements(FILE).install()
    (((first, *_rest), held),) = calls
    assert first == "monai>=1.4"
    assert held == ["torch==2.13.0+cu128", f"SimpleITK=={SLICERS_OWN['SimpleITK']}", "numpy==2.1.2"]


def test_without_the_package_packaging_that_of_pip_is_used(complete, monkeypatch):
    monkeypatch.setitem(sys.modules, "packaging", None)
    monkeypatch.setitem(sys.modules, "packaging.requirements", None)
    complete.add("torch", "2.3")
    assert Requirements(FILE).missing == ["torch>=2.5"]


def test_a_network_error_says_what_to_do_and_can_be_tried_again(site, pip, pytorch, monkeypatch):
    requirements = Requirements(FILE)
    monkeypatch.setattr(pytorch, "install", lambda: (_ for _ in ()).throw(OSError("no route to host")))
    with pytest.raises(InstallationError, match=r"(?s)no route to host.*Check the network"):
        requirements.install()
    assert pip.calls == [], "without torch the others are not tried"
    monkeypatch.undo()


def test_a_pip_error_keeps_what_was_installed_and_says_what_to_do(site, pip, pytorch, monkeypatch):
    requirements = Requirements(FILE)

    def fail(*arguments, **options):
        raise subprocess.CalledProcessError(1, "pip install")

    monkeypatch.setattr(slicer.packaging, "pip_ensure", fail)
    with pytest.raises(InstallationError, match=r"monai>=1\.4, scikit-image>=0\.22 could not be installed"):
        requirements.install()
    assert requirements.missing == ["monai>=1.4", "scikit-image>=0.22"], "torch is there now"


def test_a_declined_torch_is_no_success(site, pip, pytorch):
    pytorch.install = lambda: None
    requirements = Requirements(FILE)
    with pytest.raises(InstallationError, match="was not installed"):
        requirements.install()
    assert pip.calls == [] and "torch>=2.5" in requirements.missing


def test_an_installation_that_leaves_something_missing_names_it(complete, pip):
    complete.remove("monai")
    pip.offers = {}
    with pytest.raises(InstallationError, match=r"Still missing.*monai>=1\.4"):
        Requirements(FILE).install()


def test_an_installation_that_brings_too_old_a_version_names_it(complete, pip):
    complete.remove("monai")
    pip.offers = {"monai": "1.3"}
    with pytest.raises(InstallationError, match=r"Still missing.*monai>=1\.4"):
        Requirements(FILE).install()


# The PyTorch extension


def test_a_missing_pytorch_extension_is_offered_and_needs_a_restart(site, pip, answers, manager):
    manager.serverHas.add("PyTorch")
    requirements = Requirements(FILE)
    requirements.install()
    assert len(answers.questions) == 1 and "extension PyTorch" in answers.questions[0]
    assert manager.installed == {"PyTorch"} and manager.interactive, "its settings are as before"
    assert requirements.needsRestart and "torch>=2.5" in requirements.missing
    assert pip.calls == [], "the others come after the restart, with the torch that is there then"


def test_who_declines_the_extension_is_told_how_to_install_it_by_hand(site, pip, answers, manager):
    answers.say = False
    requirements = Requirements(FILE)
    with pytest.raises(InstallationError, match="Extensions Manager"):
        requirements.install()
    assert manager.installed == set() and not requirements.needsRestart and pip.calls == []


def test_an_extension_that_cannot_be_downloaded_says_so(site, pip, answers, manager):
    requirements = Requirements(FILE)
    with pytest.raises(InstallationError, match=r"could not be downloaded.*Extensions Manager"):
        requirements.install()
    assert manager.interactive and not requirements.needsRestart


def test_an_extension_that_waits_for_the_restart_is_not_downloaded_again(site, pip, answers, manager):
    manager.installed.add("PyTorch")
    requirements = Requirements(FILE)
    requirements.install()
    assert answers.questions == [] and requirements.needsRestart


# Restarting


def test_a_package_that_slicer_has_loaded_and_that_was_replaced_needs_a_restart(complete, pip, monkeypatch):
    complete.add("monai", "1.3")
    monkeypatch.setitem(sys.modules, "monai", types.ModuleType("monai"))
    requirements = Requirements(FILE)
    requirements.install()
    assert requirements.needsRestart and requirements.missing == []


def test_a_dependency_that_was_replaced_counts_too(complete, pip, monkeypatch):
    complete.remove("monai")
    complete.add("scipy", "1.0")
    monkeypatch.setitem(sys.modules, "scipy", types.ModuleType("scipy"))
    pip.offers["scikit-image"] = "1"
    requirements = Requirements(FILE)
    monkeypatch.setattr(
        slicer.packaging,
        "pip_ensure",
        lambda *words, **options: [complete.add("monai", "1.5"), complete.add("scipy", "2")],
    )
    requirements.install()
    assert requirements.needsRestart


def test_a_new_package_or_one_that_is_not_loaded_needs_none(complete, pip):
    complete.add("monai", "1.3")
    complete.remove("scikit-image")
    requirements = Requirements(FILE)
    requirements.install()
    assert not requirements.needsRestart


# The panel's section


@pytest.fixture
def panel(tmp_path):
    """A person in front of the opened panel."""
    with failOnCallbackErrors():
        person = User(tmp_path / "runs")
        yield person
        person.close()


def useSite(panel, request):
    """Let the panel look at the packages of a made-up folder; not before it is open, which needs the real ones."""
    request.getfixturevalue("site")
    panel.widget.logic.requirements = Requirements(FILE)
    panel.widget.setupSection.refresh()
    panel.widget.logic.tellSections()


def test_opening_the_panel_with_everything_missing_asks_and_starts_nothing(tmp_path, answers, manager, monkeypatch):
    """Also when the module is entered again."""
    monkeypatch.setattr("MetaSSLSegmentLib.Engine.Requirements._version", lambda name: None)
    packages.reset()
    with failOnCallbackErrors():
        person = User(tmp_path / "runs")
        person.representation.exit()
        person.representation.enter()
        assert answers.questions == [] and packages.REQUESTS == [] and manager.installed == set()
        assert not person.widget.logic.engine.isRunning
        assert "Missing: torch>=2.5, monai>=1.4, scikit-image>=0.22" in person.ui.packagesText.text
        assert not person.ui.setupSection.collapsed and person.ui.installButton.enabled
        for name in ("deviceButton", "addFolderButton", "sampleButton"):
            assert not getattr(person.ui, name).enabled
            assert "section 1" in getattr(person.ui, name).toolTip
        person.close()


def test_the_install_button_asks_first_and_installs_nothing_without_consent(panel, request, pip, answers):
    useSite(panel, request)
    answers.say = False
    panel.click("installButton")
    assert len(answers.questions) == 1 and "torch>=2.5" in answers.questions[0]
    assert pip.calls == [] and not panel.widget.logic.busy()


def test_the_install_button_installs_and_says_so(panel, request, pip, pytorch, answers):
    useSite(panel, request)
    busy = []
    install = pytorch.install
    pytorch.install = lambda: (busy.append(panel.ui.installButton.enabled), install())[1]
    panel.click("installButton")
    assert "Everything is installed" in panel.ui.packagesText.text
    assert not panel.ui.installButton.isVisibleTo(panel.panel) and panel.ui.deviceButton.enabled
    assert busy == [False], "pip lets Slicer's events through: nothing may be pressed twice"
    assert len(answers.questions) == 1 and not panel.widget.logic.busy()


def test_a_failed_installation_is_shown_and_can_be_tried_again(panel, request, pip, pytorch, answers):
    useSite(panel, request)
    pip.offers = {}
    panel.click("installButton")
    assert "Still missing" in panel.ui.packagesText.text and panel.ui.installButton.enabled
    pip.offers = {"monai": "1.5", "scikit-image": "0.25"}
    panel.click("installButton")
    assert "Everything is installed" in panel.ui.packagesText.text


@pytest.mark.parametrize("agrees", [True, False])
def test_a_restart_is_offered_after_the_extension_was_installed(panel, request, pip, manager, monkeypatch, agrees):
    useSite(panel, request)
    manager.serverHas.add("PyTorch")
    restarts, questions = [], []
    monkeypatch.setattr(slicer.util, "confirmOkCancelDisplay", lambda text, *others: True)
    monkeypatch.setattr(slicer.util, "confirmYesNoDisplay", lambda text, *others: questions.append(text) or agrees)
    monkeypatch.setattr(slicer.util, "restart", lambda: restarts.append(1))
    panel.click("installButton")
    assert len(questions) == 1 and "Restart" in questions[0]
    assert len(restarts) == agrees
    assert "Restart Slicer" in panel.ui.packagesText.text


def test_the_section_stays_as_the_person_left_it(panel):
    assert panel.ui.setupSection.collapsed
    panel.ui.setupSection.collapsed = False
    panel.representation.exit()
    panel.representation.enter()
    assert not panel.ui.setupSection.collapsed


def test_the_device_button_shows_the_device(panel):
    panel.click("deviceButton")
    assert "Starting" in panel.ui.deviceText.text and not panel.ui.deviceButton.enabled
    panel.waitUntilIdle(60)
    assert re.match(r"Device: (cpu|cuda|mps).*torch \d", panel.ui.deviceText.text), panel.ui.deviceText.text


@pytest.mark.skipif(os.name == "nt", reason="a shell script")
def test_an_engine_that_cannot_say_its_device_shows_why(panel, tmp_path):
    panel.widget.logic.engine.program = str(tmp_path / "no Python")
    panel.click("deviceButton")
    waitUntil(lambda: not panel.widget.logic.busy())
    assert "no Python" in panel.ui.deviceText.text and panel.ui.deviceButton.enabled


def test_packages_that_are_there_but_broken_get_a_way_out(panel, monkeypatch):
    """Nothing is missing, so the button that installs would not help."""
    heard = []
    monkeypatch.setattr(panel.widget.logic.engine, "start", lambda arguments, listener: heard.append(listener))
    panel.click("deviceButton")
    message = "The Python package torch is installed but cannot be loaded: DLL load failed"
    event = {"event": "error", "message": message, "hint": "pip install --force-reinstall torch"}
    heard[0].failed(failureOf(4, False, event))
    text = panel.ui.deviceText.text
    assert text.startswith(message) and "PyTorch Utils" in text and "restart Slicer" in text
    assert "pip install" not in text and panel.ui.deviceButton.enabled
