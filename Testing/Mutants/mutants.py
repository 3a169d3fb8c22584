"""Planted mistakes, and whether the fast tests notice: ``python Testing/Mutants/mutants.py [name ...]``.

Every mutant is one change in a copy of MetaSSLSegment and the tests. It is killed when one of its tests fails; without
it they all pass.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import in_crops
import in_files
import in_module
import in_ssl
import in_training
import in_volumes
from mutant import Mutant, mutate

REPOSITORY = Path(__file__).parents[2]
COPIED = ("MetaSSLSegment", "Testing", "Resources", "CMakeLists.txt", "pyproject.toml", "README.md", "docs")
ROOMS = {
    "training": in_training,
    "ssl": in_ssl,
    "crops": in_crops,
    "volumes": in_volumes,
    "files": in_files,
    "module": in_module,
}
MUTANTS = tuple(mutant for room in ROOMS.values() for mutant in room.MUTANTS)
SECONDS = 600
"""For the tests of one mutant; one that makes them wait longer is noticed as well."""


def passes(tests: list[str], mutant: Mutant | None = None) -> bool:
    """Whether the tests pass, with the mistake when there is one; the first failure is enough.

    Raises:
        SystemExit: they cannot be run.
    """
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder)
        for name in COPIED:
            source = REPOSITORY / name
            if source.is_dir():
                shutil.copytree(source, copy / name, ignore=shutil.ignore_patterns("__pycache__", "Results"))
            else:
                shutil.copy(source, copy / name)
        if mutant:
            mutate(mutant, copy / "MetaSSLSegment")
        command = [sys.executable, "-m", "pytest", "-q", "-x", "-m", "not slow", "-p", "no:cacheprovider", *tests]
        environment = {**os.environ, "PYTHONPATH": str(copy / "MetaSSLSegment"), "PYTHONDONTWRITEBYTECODE": "1"}
        try:
            result = subprocess.run(
                command, cwd=copy / "Testing", env=environment, capture_output=True, text=True, timeout=SECONDS
            )
        except subprocess.TimeoutExpired:
            if mutant is None:
                raise SystemExit(f"The tests take longer than {SECONDS} s.") from None
            return False
    if result.returncode not in (0, 1):
        raise SystemExit(result.stdout + result.stderr)
    return result.returncode == 0


def main() -> int:
    """Try the named mutants, those of the named rooms, or all of them; the exit code is 0 when 95 % are killed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help=f"only these; {', '.join(ROOMS)} for all of a kind")
    names = set(parser.parse_args().names)
    known = {mutant.name for mutant in MUTANTS} | ROOMS.keys()
    if names - known:
        raise SystemExit(f"There is no mutant called {', '.join(sorted(names - known))}.")
    chosen = [m for room, module in ROOMS.items() for m in module.MUTANTS if not names or {m.name, room} & names]
    survivors = []
    for tests in sorted({mutant.tests for mutant in chosen}):
        if not passes(tests.split()):
            raise SystemExit(f"{tests} fails without any mutant.")
    for mutant in chosen:
        survived = passes(mutant.tests.split(), mutant)
        survivors += [mutant.name] * survived
        print(f"{'SURVIVED' if survived else 'killed':<9} {mutant.name}", flush=True)
    killed = len(chosen) - len(survivors)
    print(f"{killed} of {len(chosen)} killed" + (f"; survived: {', '.join(survivors)}" if survivors else ""))
    return int(killed < 0.95 * len(chosen))


if __name__ == "__main__":
    sys.exit(main())
