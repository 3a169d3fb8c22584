"""The engine keeps to its plan: the order of folders, the size of files, and what can be imported from where."""

import ast
import re
import subprocess
import sys
from graphlib import CycleError, TopologicalSorter
from importlib.util import resolve_name
from pathlib import Path

import metassl
import pytest

ENGINE = Path(metassl.__file__).parent
REPOSITORY = Path(__file__).parents[2]
ORDER = (
    {"errors", "events", "files", "validation", "devices", "distributed", "job", "regions"},
    {"data"},
    {"layouts"},
    {"planning"},
    {"networks", "crops"},
    {"ssl"},
    {"inference"},
    {"training"},
    {"review"},
    {"prediction", "evaluation"},
    {"cli"},
)
"""Folders and files of the ground, as data go through them: each imports only from its own folder and from those in the
lines above; the files of the ground also from each other."""
APART = {("prediction", "training"), ("evaluation", "training"), ("review", "training")}
"""(folder, folder that it does not import although it comes before)."""
LEVEL = {name: level for level, names in enumerate(ORDER) for name in names}
MOST_LINES = 300
REASON = "in one file because"
"""What the docstring of a longer file says, followed by the reason."""
HEAVY = {"torch", "SimpleITK", "monai"}
MODULES = {
    ".".join(("metassl", *path.relative_to(ENGINE).with_suffix("").parts)).removesuffix(".__init__"): path
    for path in sorted(ENGINE.rglob("*.py"))
}


def imports_of(module, source, is_package=False):
    """(line, module of the engine) of every import of the engine, at the top of the file or inside functions."""
    package = module if is_package else module.rpartition(".")[0]
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = resolve_name("." * node.level + (node.module or ""), package)
            names = [f"{base}.{alias.name}" for alias in node.names]
            found += [(node.lineno, name if name in MODULES else base) for name in names]
    return sorted({(line, name) for line, name in found if name.split(".")[0] == "metassl"})


def room_of(module):
    """Folder, or file of the ground, that a module belongs to; "" for the package itself."""
    return [*module.split("."), ""][1]


def problems_of(module, source, is_package=False):
    """What a file of the engine imports and must not, a sentence each."""
    room, problems = room_of(module), []
    for line, name in imports_of(module, source, is_package):
        other = room_of(name)
        if other in ("", room):
            continue
        same_ground = LEVEL.get(other) == LEVEL[room] == 0
        if other not in LEVEL or (LEVEL[other] >= LEVEL[room] and not same_ground) or (room, other) in APART:
            problems.append(f"{module}, line {line}: {room} must not import {other}")
    return problems


def test_every_file_has_a_place_in_the_order():
    rooms = {room_of(module) for module in MODULES} - {"", "__main__"}
    assert rooms == set(LEVEL)


@pytest.mark.parametrize("module", [module for module in MODULES if room_of(module) not in ("", "__main__")])
def test_imports_follow_the_way_of_the_data(module):
    path = MODULES[module]
    assert problems_of(module, path.read_text(encoding="utf-8"), path.name == "__init__.py") == []


@pytest.mark.parametrize(
    ("module", "source", "problems"),
    [
        ("metassl.data.images", "from ..layouts.prepare import prepare", 1),
        ("metassl.data.images", "def f():\n    from metassl.planning import plan", 1),
        ("metassl.data.images", "import metassl.job, metassl.cli.main", 1),
        ("metassl.job", "from .data.dataset import Dataset", 1),
        ("metassl.job", "from .errors import InputError", 0),
        ("metassl.networks.dynunet", "from ..crops.sampling import CropSampler", 1),
        ("metassl.crops.sampling", "from ..networks import dynunet", 1),
        ("metassl.evaluation.evaluate", "from ..training.hold_out import HoldOut", 1),
        ("metassl.prediction.predict", "from ..evaluation.metrics import evaluate_case", 1),
        ("metassl.prediction.predict", "from ..inference.model import Model\nfrom .. import __version__", 0),
        ("metassl.ssl.methods.cps", "from ...planning.plan import Plan\nfrom ..voxels import hard_labels", 0),
        ("metassl.ssl.methods.cps", "from ...inference.model import Model", 1),
        ("metassl.data.images", "from ..attic.things import thing", 1),
    ],
)
def test_the_check_of_imports_finds(module, source, problems):
    assert len(problems_of(module, source)) == problems


def circle_among(imports):
    """The modules of one circle of imports, () when there is none."""
    try:
        TopologicalSorter(imports).prepare()
    except CycleError as error:
        return tuple(error.args[1])
    return ()


def test_no_modules_import_each_other_in_a_circle():
    """A package and the modules in it count as importing each other only where they say so."""
    assert circle_among({"a": {"b"}, "b": {"c"}, "c": {"a"}}) and not circle_among({"a": {"b", "c"}, "b": {"c"}})
    graph = {
        module: {name for _, name in imports_of(module, path.read_text(encoding="utf-8"), path.name == "__init__.py")}
        for module, path in MODULES.items()
        if room_of(module) not in ("", "__main__")
    }
    assert circle_among({module: names - {"metassl"} for module, names in graph.items()}) == ()


@pytest.mark.parametrize("module", MODULES)
def test_a_long_file_says_why(module):
    source = MODULES[module].read_text(encoding="utf-8")
    if len(source.splitlines()) > MOST_LINES:
        docstring = ast.get_docstring(ast.parse(source)) or ""
        assert REASON in " ".join(docstring.split()), f"split it, or let its docstring say: {REASON} ..."


@pytest.mark.parametrize("name", metassl.VOCABULARY)
def test_the_vocabulary_is_free_of_torch(name):
    code = f"import sys; from metassl import {name}; print(sorted({HEAVY} & set(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.stdout.strip() == "[]", result.stderr


@pytest.mark.parametrize("name", metassl.FUNCTIONS)
def test_what_commands_do_is_there_for_programs(name):
    assert callable(getattr(metassl, name))


def test_other_names_are_not():
    with pytest.raises(AttributeError, match="no attribute 'Trainer'"):
        metassl.Trainer  # noqa: B018


@pytest.mark.parametrize("document", ["CONTRIBUTING.md", "docs/architecture.md", "docs/method.md"])
def test_documents_name_files_and_folders_that_exist(document):
    text = (REPOSITORY / document).read_text(encoding="utf-8")
    roots = (REPOSITORY, ENGINE.parent, ENGINE, ENGINE.parent / "MetaSSLSegmentLib")
    named = re.findall(r"`([\w./-]+(?:\.py|\.ui|\.md|/))`", text)
    assert named and [name for name in named if not any((root / name).exists() for root in roots)] == []


def test_commits_are_checked_by_the_ruff_that_make_lint_runs():
    constraint = re.search(r"^ruff==(.+)$", (REPOSITORY / "constraints.txt").read_text(), re.MULTILINE)[1]
    assert f"rev: v{constraint}\n" in (REPOSITORY / ".pre-commit-config.yaml").read_text()
