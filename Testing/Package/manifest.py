"""Do the lists in MetaSSLSegment/CMakeLists.txt name every file of the module?

python Testing/Package/manifest.py            says what is wrong
python Testing/Package/manifest.py --write    mends the lists
"""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
MODULE = ROOT / "MetaSSLSegment"
SCRIPTS, RESOURCES = "MODULE_PYTHON_SCRIPTS", "MODULE_PYTHON_RESOURCES"


def tree(module: Path = MODULE) -> dict[str, list[str]]:
    """The files to install: Python files are scripts, all others are resources."""
    files = [file.relative_to(module) for file in module.rglob("*") if file.is_file()]
    names = sorted(file.as_posix() for file in files if not _left_behind(file))
    return {
        SCRIPTS: [name for name in names if name.endswith(".py")],
        RESOURCES: [name for name in names if not name.endswith(".py")],
    }


def listed(module: Path = MODULE) -> dict[str, list[str]]:
    """The files that CMake would install."""
    text = (module / "CMakeLists.txt").read_text()
    return {variable: _list_of(variable).search(text)[1].split() for variable in (SCRIPTS, RESOURCES)}


def differences(module: Path = MODULE) -> list[str]:
    """What to change where, a sentence each; empty when the lists are right."""
    sentences, lists = [], listed(module)
    for variable, files in tree(module).items():
        where = f"in set({variable} ...) of MetaSSLSegment/CMakeLists.txt"
        sentences += [f'add the line "  {file}" {where}' for file in files if file not in lists[variable]]
        sentences += [f'remove the line "  {file}" {where}' for file in lists[variable] if file not in files]
        if not sentences and lists[variable] != files:
            sentences.append(f"sort the lines {where}, each once")
    return sentences


def write(module: Path = MODULE) -> None:
    """Make the lists name exactly the files that are there."""
    path = module / "CMakeLists.txt"
    text = path.read_text()
    for variable, files in tree(module).items():
        lines = "".join(f"  {file}\n" for file in files)
        text = _list_of(variable).sub(f"set({variable}\n{lines})", text)
    path.write_text(text)


def _left_behind(file: Path) -> bool:
    """Whether a file in the module's folder is no part of it: CMake's own, hidden, or left by Python."""
    return (
        file.name == "CMakeLists.txt"
        or file.suffix == ".pyc"
        or any(part.startswith(".") or part == "__pycache__" or part.endswith(".egg-info") for part in file.parts)
    )


def _list_of(variable: str) -> re.Pattern:
    return re.compile(rf"set\({variable}\s([^)]*)\)")


if __name__ == "__main__":
    if sys.argv[1:] == ["--write"]:
        write()
    problems = differences()
    print("\n".join(problems) or "The lists name every file.")
    sys.exit(bool(problems))
