"""The archive for *Install from file*, what Slicer's build would install, and that it works where nothing else is."""

import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path, PurePosixPath

import manifest
import package
import pytest
from descriptions import ROOT, of_cmake, of_s4ext

VERSION = "5.12"
STAND_INS = Path(__file__).parent / "slicer_cmake"
SCRIPTED = f"lib/Slicer-{VERSION}/qt-scripted-modules"
INSTALLED = {f"share/Slicer-{VERSION}/MetaSSL.s4ext"} | {
    f"{SCRIPTED}/{file}" for files in manifest.tree().values() for file in files
}


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    return package.make_archive(VERSION, tmp_path_factory.mktemp("archive ü"))


@pytest.fixture(scope="module")
def unpacked(archive, tmp_path_factory):
    """The archive's one top folder, unpacked by the class that the Extensions Manager uses."""
    slicer = pytest.importorskip("slicer", reason="slicer-core is not installed: make test-all does it")
    folder = tmp_path_factory.mktemp("unpacked")
    here = os.getcwd()
    try:
        names = []
        assert slicer.vtkArchive.ListArchive(str(archive), names)
        assert slicer.vtkArchive.UnZip(str(archive), str(folder))
    finally:
        os.chdir(here)  # it changes the folder
    assert len(names) == len(INSTALLED)
    (top,) = folder.iterdir()
    return top


def files_below(folder):
    return {file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file()}


def run_unpacked(unpacked, arguments, also=()):
    """Run Python with the unpacked modules and installed packages; -S hides the checkout that pip installed."""
    folders = [unpacked / SCRIPTED, *also, sysconfig.get_path("purelib"), sysconfig.get_path("platlib")]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, folders)), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-S", *map(str, arguments)]
    run = subprocess.run(command, cwd=unpacked, env=environment, capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stdout + run.stderr
    return run.stdout


def test_the_archive_has_one_top_folder_with_slicers_layout(archive):
    with zipfile.ZipFile(archive) as file:
        assert file.testzip() is None
        names = file.namelist()
    tops = {name.split("/")[0] for name in names}
    assert tops == {"MetaSSL-Slicer-5.12"}
    assert sorted(name.split("/", 1)[1] for name in names) == sorted(INSTALLED)


def test_nothing_named_testing_is_installed():
    """Extensions install side by side: two packages of that name would collide."""
    parts = {PurePosixPath(part).stem.lower() for file in INSTALLED for part in PurePosixPath(file).parts}
    assert not parts & {"testing", "test", "tests"}


def test_for_macos_the_files_are_inside_the_application(tmp_path):
    """Where Slicer on macOS looks for them: Slicer.app/Contents/Extensions-REVISION/MetaSSL."""
    with zipfile.ZipFile(package.make_archive(VERSION, tmp_path, macos_revision="34045")) as file:
        inside = "MetaSSL-Slicer-5.12-macOS-34045/Slicer.app/Contents/Extensions-34045/MetaSSL/"
        assert {name.removeprefix(inside) for name in file.namelist()} == INSTALLED


def test_the_archives_description_has_the_revision_of_the_checkout(archive, tmp_path):
    with zipfile.ZipFile(archive) as file:
        (name,) = (name for name in file.namelist() if name.endswith(".s4ext"))
        (tmp_path / "MetaSSL.s4ext").write_bytes(file.read(name))
    description = of_s4ext(tmp_path / "MetaSSL.s4ext")
    assert description.pop("scmrevision")
    assert description == {key: value for key, value in of_s4ext().items() if key != "scmrevision"}


@pytest.mark.parametrize("version", ["", "5", "stable", "5.12.3.4"])
def test_a_wrong_version_is_refused_with_an_example(version):
    command = [sys.executable, package.__file__, "--slicer", version]
    run = subprocess.run(command, capture_output=True, text=True)
    assert run.returncode == 2
    assert "such as 5.12" in run.stderr


def test_the_command_takes_the_minor_version_and_prints_the_archives_path(tmp_path):
    command = [sys.executable, "-S", package.__file__, "--slicer", "5.12.3", "--out", tmp_path / "new"]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    assert Path(run.stdout.strip()) == tmp_path / "new" / "MetaSSL-Slicer-5.12.zip"
    assert zipfile.is_zipfile(run.stdout.strip())


@pytest.fixture(scope="module")
def cmake():
    """Runs cmake, ctest or cpack, and returns what it said."""
    programs = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    if not shutil.which("cmake", path=programs):
        pytest.skip("cmake is not installed: pip install cmake")

    def run(program, *arguments, cwd=None):
        command = [shutil.which(program, path=programs), *map(str, arguments)]
        done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    return run


@pytest.fixture(scope="module")
def build(cmake, tmp_path_factory):
    """The configured build folder."""
    folder = tmp_path_factory.mktemp("build")
    options = [f"-DSlicer_DIR={STAND_INS}", f"-DSLICER_MINOR_VERSION={VERSION}"]
    options += [f"-DCMAKE_TOOLCHAIN_FILE={STAND_INS / 'NoCompiler.cmake'}"]
    said = cmake("cmake", "-S", ROOT, "-B", folder, *options)
    assert "Warning" not in said, said
    return folder


class TestSlicersBuild:
    """CMakeLists.txt with stand-ins of Slicer's macros."""

    def test_installs_the_same_files_as_the_archive(self, cmake, build, tmp_path):
        cmake("cmake", "--install", build, "--prefix", tmp_path)
        assert files_below(tmp_path) == INSTALLED
        source, installed = ROOT / "MetaSSLSegment", tmp_path / SCRIPTED
        changed = [
            file for file in files_below(installed) if (installed / file).read_bytes() != (source / file).read_bytes()
        ]
        assert changed == []

    def test_writes_the_same_description(self, build):
        written = of_s4ext(build / "MetaSSL.s4ext")
        assert {key: of_s4ext()[key] for key in written} == written
        assert set(written) == set(of_cmake())

    def test_packages_one_top_folder(self, cmake, build):
        cmake("cpack", cwd=build)
        with tarfile.open(build / "stand-in-MetaSSL.tar.gz") as file:
            names = {member.name for member in file if member.isfile()}
        assert names == {f"stand-in-MetaSSL/{name}" for name in INSTALLED}

    def test_registers_the_modules_self_test(self, cmake, build):
        assert "py_MetaSSLSegment" in cmake("ctest", "--show-only", cwd=build)


class TestUnpacked:
    """The installed extension, in a fresh process that cannot see the checkout."""

    def test_slicer_finds_exactly_the_installed_files(self, unpacked):
        assert unpacked.name == "MetaSSL-Slicer-5.12"
        assert files_below(unpacked) == INSTALLED

    def test_the_command_explains_itself_and_works_on_files(self, unpacked, tmp_path):
        assert "predict" in run_unpacked(unpacked, ["-m", "metassl", "--help"])
        cases = ["--labelled", "2", "--unlabelled", "1", "--test", "1"]
        run_unpacked(unpacked, ["-m", "metassl", "sample", "--out", tmp_path / "sample", *cases])
        run_unpacked(unpacked, ["-m", "metassl", "check", tmp_path / "sample/dataset.json"])

    def test_every_module_of_the_engine_is_imported_from_there(self, unpacked):
        code = (
            "import importlib, pkgutil, metassl\n"
            "names = [module.name for module in pkgutil.walk_packages(metassl.__path__, 'metassl.')]\n"
            "for name in names: print(name, importlib.import_module(name).__file__, sep='|')\n"
        )
        imported = dict(line.split("|") for line in run_unpacked(unpacked, ["-c", code]).splitlines())
        assert len(imported) > 30 and "metassl.ssl.methods.mean_teacher" in imported
        assert all(Path(file).is_relative_to(unpacked) for file in imported.values()), imported

    def test_the_module_opens_from_there(self, unpacked):
        pytest.importorskip("PySide6", reason="PySide6 is not installed: make test-all does it")
        code = (
            "import sys\n"
            "from harness import minislicer; minislicer.bootstrap()\n"
            "from harness.module_loading import openModule\n"
            "panel = openModule(sys.argv[1])\n"
            "for name, module in sorted(sys.modules.items()):\n"
            "    if name.startswith('MetaSSLSegment'): print(name, module.__file__, sep='|')\n"
            "panel.close()\n"
        )
        module = unpacked / SCRIPTED / "MetaSSLSegment.py"
        said = run_unpacked(unpacked, ["-c", code, module], also=[ROOT / "Testing/Module"])
        loaded = dict(line.split("|") for line in said.splitlines() if "|" in line)
        assert {"MetaSSLSegment", "MetaSSLSegmentLib", "MetaSSLSegmentLib.Sections.DataSection"} <= set(loaded)
        assert all(Path(file).is_relative_to(unpacked) for file in loaded.values()), loaded
