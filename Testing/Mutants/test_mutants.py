import ast
import re
from pathlib import Path

import pytest
from mutant import mutate
from mutants import MUTANTS, REPOSITORY


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_every_mutant_still_is_a_change_of_code_that_its_tests_may_notice(mutant, tmp_path):
    """``make mutants`` runs them all."""
    file = tmp_path / mutant.file
    file.parent.mkdir(parents=True)
    file.write_bytes((REPOSITORY / "MetaSSLSegment" / mutant.file).read_bytes())
    before = ast.dump(ast.parse(file.read_text(encoding="utf-8")))
    mutate(mutant, tmp_path)
    assert ast.dump(ast.parse(file.read_text(encoding="utf-8"))) != before
    for test in mutant.tests.split():
        name, _, function = test.partition("::")
        source = Path(REPOSITORY / "Testing" / name).read_text(encoding="utf-8")
        assert not function or re.search(rf"^def {function}\(", source, re.MULTILINE)


def test_names_are_unique():
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS)
