"""The Slicer side keeps to its rooms, and uses of the engine only the vocabulary that is free of torch."""

import ast
import subprocess
import sys

import metassl
import pytest
from user import MODULE

LIBRARY = MODULE.parent / "MetaSSLSegmentLib"
FILES = [MODULE, *sorted(LIBRARY.rglob("*.py"))]
ROOMS = {"Sections": {"Sections", "Scene", "Engine"}, "Scene": {"Scene"}, "Engine": {"Engine"}}
"""Room -> rooms whose files its own files may import; the module and its self-test may import all."""
WHEN_CHOSEN = {("SampleSource.py", "make_sample")}
"""What is imported only inside a function, once a person asks for it: it needs SimpleITK, but not torch."""


def importsOf(source):
    """(line, level, module, name, whether inside a function) of every import."""

    def visit(node, inside):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, 0, alias.name, None, inside
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                yield node.lineno, node.level, node.module or "", alias.name, inside
        inside = inside or isinstance(node, ast.FunctionDef | ast.Lambda)
        for child in ast.iter_child_nodes(node):
            yield from visit(child, inside)

    return list(visit(ast.parse(source), False))


def problemsOf(path, source):
    """What a file of the Slicer side imports and must not, a sentence each."""
    room = path.parent.name if path.parent.parent == LIBRARY else None
    problems = []
    for line, level, module, name, inside in importsOf(source):
        first = module.partition(".")[0]
        if level == 0 and first == "metassl":
            late = inside and (path.name, name) in WHEN_CHOSEN
            if module != "metassl" or (name not in metassl.VOCABULARY and not late):
                problems.append(f"{line}: {name or module} of {module} does not belong to metassl.VOCABULARY")
        elif level == 0 and first == "MetaSSLSegmentLib" and path != MODULE:
            problems.append(f"{line}: inside the package, imports are relative")
        elif level and room is not None:
            other = room if level == 1 else first
            if level > 2 or other not in ROOMS[room]:
                problems.append(f"{line}: {room} must not know {other or 'the whole package'}")
    return problems


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_imports_keep_to_the_rooms_and_the_vocabulary(path):
    assert problemsOf(path, path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("place", "source"),
    [
        ("Scene/A.py", "from ..Sections.Section import say"),
        ("Scene/A.py", "def f():\n    from ..Engine.Runs import Runs"),
        ("Engine/A.py", "from ..Scene import Result"),
        ("Engine/A.py", "from .. import Scene"),
        ("Sections/A.py", "from MetaSSLSegmentLib.Scene import Result"),
        ("Sections/A.py", "import metassl"),
        ("Sections/A.py", "import metassl.job"),
        ("Scene/A.py", "from metassl.data.dataset import Dataset"),
        ("Scene/A.py", "from metassl import Dataset, train"),
        ("Scene/SampleSource.py", "from metassl import make_sample"),
        ("Scene/A.py", "def f():\n    from metassl import make_sample"),
    ],
)
def test_the_check_finds(place, source):
    assert len(problemsOf(LIBRARY / place, source)) == 1


def test_every_file_has_a_room():
    rooms = {path.parent.name for path in LIBRARY.glob("*/*.py")}
    assert rooms == set(ROOMS) and all((LIBRARY / room / "__init__.py").is_file() for room in rooms)
    assert {path.name for path in LIBRARY.glob("*.py")} == {"__init__.py", "MetaSSLSegmentTest.py"}


def test_the_vocabulary_is_free_of_torch():
    code = (
        "import sys, metassl\n"
        "for name in metassl.VOCABULARY: getattr(metassl, name)\n"
        "print([name for name in ('torch', 'monai', 'SimpleITK', 'skimage') if name in sys.modules])\n"
    )
    run = subprocess.run([sys.executable, "-c", code], cwd=MODULE.parent, capture_output=True, text=True, timeout=60)
    assert (run.returncode, run.stdout.strip()) == (0, "[]"), run.stderr
