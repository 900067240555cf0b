"""Tables of outcomes as clinics keep them, and what is refused with its line."""

import pytest

from inference.errors import TableUnusable
from training import outcomes
from training.outcomes import CohortUnusable, N, Stage, stage


@pytest.fixture
def table(tmp_path):
    """Writes a table, as text or bytes."""

    def write(content, name="outcomes.csv"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


def read(*paths, **columns):
    return outcomes.read(paths, columns)


def test_a_line_is_an_outcome_and_unknown_columns_are_covariates(table):
    path = table(
        "patient,pn,cn,pt,centre,followup_days,event,smoking\n"
        "A-1,pN1,cN0,T2a,north,730,1,never\n"
        "A-2,N0,,,north,,,\n"
    )

    first, second = read(path)

    assert (first.patient, first.source, first.pn, first.cn) == (
        "A-1",
        "outcomes.csv:2",
        Stage(n=N.N1),
        Stage(n=N.N0),
    )
    assert (first.pt, first.centre, first.followup_days, first.event) == ("T2a", "north", 730, True)
    assert first.covariates == {"smoking": "never"}
    assert (second.cn, second.followup_days, second.event) == (Stage(n=None), None, None)
    assert second.covariates == {}


def test_tables_of_other_programs_read_alike(table):
    plain = table("patient,pn,age_years\nA-1,N1,63.5\n")
    marked = table(b"\xef\xbb\xbfpatient,pn,age_years\r\nA-1,N1,63.5\r\n", "bom.csv")
    continental = table("patient;pn;age_years\nA-1;N1;63,5\n", "semicolon.csv")
    tabbed = table("patient\tpn\tage_years\n\nA-1\tN1\t63.5\n", "tabs.csv")

    found = [read(path)[0] for path in (plain, marked, continental, tabbed)]

    assert {one.patient for one in found} == {"A-1"}
    assert [dict(one.covariates) for one in found] == [{"age_years": "63.5"}] * 4


def test_columns_may_have_other_names_and_full_width_letters(table):
    path = table("Case ID,\N{FULLWIDTH LATIN CAPITAL LETTER N}-Stage, Centre \nA-1,1,north\n")

    (found,) = read(path, patient="case id", pn="N-Stage", centre="Centre")

    assert (found.patient, found.pn.n, found.centre) == ("A-1", N.N1, "north")


@pytest.mark.parametrize(
    ("written", "read_as"),
    [
        ("N0", N.N0),
        ("pN1", N.N1),
        ("n2b", N.N2),
        ("pN2a1", N.N2),
        ("1.0", N.N1),
        ("3", N.N3),
        ("pN0(i-)", N.N0),
        ("NX", None),
    ],
)
def test_stages_are_read_as_they_are_written(written, read_as):
    assert stage(written, clinical=False) == Stage(n=read_as)


def test_a_stage_after_induction_therapy_says_so():
    assert stage("ypN0", clinical=False) == Stage(n=N.N0, after_therapy=True)


@pytest.mark.parametrize("written", ["N4", "N1/2", "positive", "N", "12"])
def test_what_is_no_stage_is_refused(written):
    with pytest.raises(ValueError, match="no nodal stage"):
        stage(written, clinical=False)


def test_clinical_and_pathological_stages_are_not_taken_for_each_other():
    with pytest.raises(ValueError, match="no pathological stage"):
        stage("cN0", clinical=False)
    with pytest.raises(ValueError, match="no clinical stage"):
        stage("pN0", clinical=True)


def test_a_patient_for_the_second_time_is_refused_with_both_lines(table):
    path = table("patient,pn\nA-1,N0\nA-2,N0\nA-1,N1\n")

    with pytest.raises(CohortUnusable, match=r"outcomes\.csv:4: .* at outcomes\.csv:2"):
        read(path)


def test_a_patient_in_two_tables_is_refused_with_both_lines(table):
    north = table("patient,pn\nA-1,N0\n", "north.csv")
    south = table("patient,pn\nB-1,N0\nA-1,N0\n", "south.csv")

    with pytest.raises(CohortUnusable, match=r"south\.csv:3: .* at north\.csv:2"):
        read(north, south)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("", "the table is empty"),
        ("patient,stage\nA,N0\n", r"outcomes\.csv:1: no column 'pn' among patient, stage"),
        ("patient,pn,pn\nA,N0,N0\n", r":1: the column 'pn' is there twice"),
        ("patient,pn,\nA,N0,\nB,N0,x\n", r":3: a cell in a column without a name"),
        ("patient,pn\nA,N0,x\n", r":2: 3 cells, where the header has 2"),
        ("patient,pn\n,N0\n", ":2: no patient"),
        ("patient,pn\nA,N0\n\nB,N9\n", r":4: 'N9' is no nodal stage"),
        ('patient,pn,note\nA,N0,"two\nlines"\nB,N9,\n', r":4: 'N9'"),
        ("patient,pn,followup_days\nA,N0,-3\n", r":2: followup_days: '-3'"),
        ("patient,pn,followup_days\nA,N0,long\n", r":2: followup_days: 'long'"),
        ("patient,pn,event\nA,N0,perhaps\n", r":2: event: 'perhaps'"),
        (b"patient,pn\nA,N0\n\xc4,N0\n", r":3: not UTF-8"),
        (b"PK\x03\x04 anything", "is a workbook: save its sheet as CSV"),
        ('patient,pn\nA,"N0\n', "outcomes.csv:"),
    ],
)
def test_a_table_that_cannot_be_understood_is_refused_with_its_line(table, content, told):
    with pytest.raises((CohortUnusable, TableUnusable), match=told):
        read(table(content))


@pytest.mark.parametrize(
    "column",
    [
        "Name",
        "patient_name",
        "Last name",
        "surname",
        "DOB",
        "date of birth",
        "Birth Date",
        "e-mail",
    ],
)
def test_a_column_that_would_name_a_person_is_refused(table, column):
    with pytest.raises(CohortUnusable, match=f":1: the column '{column}' may name people"):
        read(table(f"patient,pn,{column}\nA,N0,x\n"))


@pytest.mark.parametrize("column", ["birth_weight_kg", "histology", "gene name", "mail_in_study"])
def test_a_column_that_only_sounds_like_it_is_kept(table, column):
    (found,) = read(table(f"patient,pn,{column}\nA,N0,x\n"))

    assert found.covariates == {column: "x"}


def test_a_column_that_is_mapped_must_be_one_that_we_know(table):
    with pytest.raises(CohortUnusable, match=r"columns\.stage is none of"):
        read(table("patient,pn\nA,N0\n"), stage="pn")
