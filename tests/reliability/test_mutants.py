"""The list of mutants is of today's source; `make mutants` tries them."""

import mutants
import pytest


@pytest.mark.parametrize("mutant", mutants.MUTANTS, ids=lambda mutant: mutant.what)
def test_a_mutant_changes_one_place_and_names_tests_that_are_there(mutant: mutants.Mutant) -> None:
    assert mutant.new in mutants.changed(mutant)
    assert mutants.digest(mutant)


def test_a_mutant_is_tried_once() -> None:
    assert len({mutant.what for mutant in mutants.MUTANTS}) == len(mutants.MUTANTS)


def test_only_mutants_of_the_list_are_excused() -> None:
    assert {*mutants.WHY_SURVIVE} <= {mutant.what for mutant in mutants.MUTANTS}
