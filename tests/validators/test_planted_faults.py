"""Of single faults planted in our own objects, the lint or a validator catches every one."""

import pytest

from node.dicom.lint import Rule
from tests.validators import faults

EIGHT = {
    "tracking_uid_missing",
    "unit_not_ucum",
    "wrong_meaning",
    "invented_code",
    "foreign_study",
    "no_template",
    "no_procedure",
    "no_observer",
}


@pytest.fixture(scope="module")
def sets(tmp_path_factory):
    return faults.sound_sets(tmp_path_factory.mktemp("sound"))


@pytest.mark.parametrize("fault", faults.FAULTS, ids=lambda fault: fault.name)
def test_the_lint_catches_the_fault_by_its_rule(sets, fault):
    faulty, _ = faults.with_fault(sets, fault)

    assert fault.rule in faults.by_the_lint(faulty)


def test_the_lint_finds_nothing_where_no_fault_is_planted(sets):
    for sound in sets.values():
        assert faults.by_the_lint(sound) == set()


def test_every_rule_is_broken_by_a_fault_and_the_eight_are_among_them():
    assert {fault.rule for fault in faults.FAULTS} == set(Rule)
    assert {fault.plant.__name__ for fault in faults.FAULTS} >= EIGHT
    assert len(faults.FAULTS) == len({fault.name for fault in faults.FAULTS}) >= 30


def test_the_table_in_the_documents_is_who_catches_what(tmp_path):
    if faults.absent_judges():
        pytest.skip(
            f"{', '.join(faults.absent_judges())} not installed;"
            " scripts/system-packages.sh installs them"
        )

    rows = faults.table(tmp_path)

    assert faults.document(rows) == faults.DOCUMENT.read_text(encoding="utf-8")
