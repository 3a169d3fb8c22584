"""The lists of files in MetaSSLSegment/CMakeLists.txt."""

import manifest
import pytest

CMAKE_LISTS = """set(MODULE_PYTHON_SCRIPTS
  Module.py
  Library/gone.py
)
set(MODULE_PYTHON_RESOURCES
)
"""


@pytest.fixture
def module(tmp_path):
    """A module folder whose lists forget two files and name one that is gone."""
    for file in ("Module.py", "Library/__init__.py", "Resources/UI/Module.ui"):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).touch()
    for leftover in ("Library/__pycache__/Module.cpython-312.pyc", "Module.egg-info/PKG-INFO", ".DS_Store"):
        (tmp_path / leftover).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / leftover).touch()
    (tmp_path / "CMakeLists.txt").write_text(CMAKE_LISTS)
    return tmp_path


def test_the_lists_name_every_file_of_the_module():
    """A forgotten file would silently be missing in the installed extension."""
    problems = manifest.differences()
    assert not problems, "\n".join([*problems, "or run: python Testing/Package/manifest.py --write"])


def test_forgotten_and_removed_files_are_named_with_their_line_and_place(module):
    place = "of MetaSSLSegment/CMakeLists.txt"
    assert manifest.differences(module) == [
        f'add the line "  Library/__init__.py" in set(MODULE_PYTHON_SCRIPTS ...) {place}',
        f'remove the line "  Library/gone.py" in set(MODULE_PYTHON_SCRIPTS ...) {place}',
        f'add the line "  Resources/UI/Module.ui" in set(MODULE_PYTHON_RESOURCES ...) {place}',
    ]


def test_writing_mends_the_lists(module):
    manifest.write(module)
    assert manifest.differences(module) == []
    assert manifest.listed(module) == {
        "MODULE_PYTHON_SCRIPTS": ["Library/__init__.py", "Module.py"],
        "MODULE_PYTHON_RESOURCES": ["Resources/UI/Module.ui"],
    }


def test_a_file_that_is_listed_twice_is_found(module):
    manifest.write(module)
    path = module / "CMakeLists.txt"
    path.write_text(path.read_text().replace("  Module.py\n", "  Module.py\n  Module.py\n"))
    assert manifest.differences(module) == [
        "sort the lines in set(MODULE_PYTHON_SCRIPTS ...) of MetaSSLSegment/CMakeLists.txt, each once"
    ]
