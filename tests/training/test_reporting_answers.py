"""``petct-train report``: answers that it takes or refuses, what they lack, and its files."""

import re
import sys
from dataclasses import replace

import numpy as np
import pytest

from inference import bundle as bundles
from inference.card import Parity
from tests.training.made_answers import altered, edited, made, rewritten
from tests.training.reported import BUNDLE, FEW, SMALL, Parsed, parsed, plain, plain_words
from training.__main__ import main
from training.assembling import STEPS
from training.labels import LabelRules, NodalClass
from training.partition import Part, Placed, SplitPlan, partition
from training.patients import LeftOut, Member, PatientCohort, write
from training.reporting import checklists, words
from training.reporting.answers import read_run
from training.reporting.card import model_card
from training.reporting.charts import epochs_of
from training.reporting.montage import montage
from training.reporting.page import Page, Section, html
from training.reporting.pdf import printer
from training.reporting.survival import survival_blocks
from training.statistics.values import Interval, UnusableScores


@pytest.fixture
def small(tmp_path):
    """Answers with as little as there may be."""
    return made(tmp_path / "answers", sizes=SMALL, models=FEW, pictures=False)


def test_what_is_absent_is_said_in_one_line(small):
    found = parsed(small)

    for told in (
        "No follow-up stands in the answers",
        "there is no external validation",
        "No readers' calls",
        "No texture features",
        "No pictures of cases were kept",
        "The logs of the runs were not given",
        "Phantoms are drawn, not assessed",
    ):
        assert told in found.text
    assert "of what can be known" not in found.text  # there is no Bayes


def test_a_page_is_written_whatever_the_cases_let_be_known(tmp_path):
    """Fusion parts the classes, a patient has two cases, the external centre has one positive."""
    sizes = {**SMALL, Part.EXTERNAL: 4}
    folder = made(
        tmp_path / "answers", sizes=sizes, models=FEW, pictures=False, rich=("time", "event")
    )
    for path in folder.glob("*/*.csv"):
        edited(
            path,
            lambda row, place: {
                "patient": f"p{place // 2}",
                "fusion": place / 100 + (4 if row["label"] == "1" else -5),
            },
        )

    found = parsed(folder)

    (ranks,) = found.tables("task-1-roc")
    assert ranks["PET/CT fusion (the bundle)"]["AUROC"] == "1.000 (bounds not known)"
    (fits, _) = found.tables("task-1-calibration")
    assert "no finite slope" in fits["PET/CT fusion (the bundle)"]["slope"]
    assert "bootstrap of patients" in plain(found.section("task-1-cutoff"))
    assert "survival needs one case a patient" in plain(found.section("survival"))
    assert "4 cases, 2 of them positive, are too few" in plain(found.section("task-1-external"))


def test_nobody_died_and_no_treatment_is_known(tmp_path):
    rich = ("time", "event", "treatment")
    folder = made(
        tmp_path / "answers", sizes=SMALL, models={"fusion": 1}, pictures=False, rich=rich
    )
    for path in folder.glob("*/*.csv"):
        edited(path, lambda _row, _place: {"event": 0, "treatment": ""})

    blocks = survival_blocks(read_run(BUNDLE, folder, None, None), (1.0, 3.0))

    told = Page(
        title="t",
        lead="",
        sections=(Section(anchor="survival", title="Survival", blocks=blocks),),
        colophon="",
    )
    (groups,) = Parsed(html(told)).tables("survival")
    assert groups["low"]["alive at 1 y"].startswith("1.000 (")
    assert groups["low"]["median"] == "not reached"
    assert groups["high"]["hazard ratio"] == "not known"


def test_names_cannot_become_markup(tmp_path):
    evil = "<script>alert('$x$')</script></td><b>"
    folder = made(tmp_path / "answers", sizes=SMALL, models=FEW)
    for task in ("occult_n1", "occult_n2"):
        for part in SMALL:
            path = folder / task / f"{part}.csv"
            rewritten(path, {",pet,": f",{evil},", ",small": f",{evil}", ",wide": ",\u5317\u4eac"})
    altered(folder, recipe=evil)

    found = parsed(folder)

    assert found.errors == []
    assert found.all("script") == []
    (ranks,) = found.tables("task-1-roc")
    assert evil in ranks
    assert f"scanner: {evil}" in found.text
    assert f"The recipe {evil} 0.1" in found.text
    assert "\u5317\u4eac" in found.text


def test_a_log_that_is_none_is_refused(tmp_path):
    log = tmp_path / "runs" / "occult_n1-fusion" / "log.csv"
    log.parent.mkdir(parents=True)
    log.write_text("epoch,loss\n0,much\n")

    with pytest.raises(UnusableScores, match="not the log of a run"):
        epochs_of(tmp_path / "runs", "occult_n1")


@pytest.fixture
def cohort():
    """Sixty patients of two centres, and three who were left out."""
    placed = [
        Placed(patient=f"P{n:02}", centre=("north", "south")[n % 2], nodal=list(NodalClass)[n % 3])
        for n in range(60)
    ]
    plan = SplitPlan(seed=1)
    parts = partition(tuple(placed), plan)
    return PatientCohort(
        name="made",
        tables={},
        rules=LabelRules(),
        plan=plan,
        members=tuple(
            Member(
                patient=one.patient,
                case_digest="sha256:" + "0" * 64,
                centre=one.centre,
                nodal=one.nodal,
                part=parts[one.patient],
                covariates={"age_years": str(50 + n % 20)} if n else {},
            )
            for n, one in enumerate(placed)
        ),
        left_out=tuple(
            LeftOut(patient=f"L{n}", step=step, why=why)
            for n, (step, why) in enumerate([(STEPS[0], "<i>unknown"), (STEPS[-1], "cN1")])
        ),
    )


def test_a_cohort_of_patients_is_counted_down(small, cohort, tmp_path):
    (tmp_path / "cohort").mkdir()
    write(cohort, tmp_path / "cohort")
    altered(
        small,
        source="patients",
        cohort_digest=cohort.digest,
        without_lesion={"test": ["P01", "P02"]},
    )

    found = parsed(small, cohort=tmp_path / "cohort")

    flow = plain(found.section("flow"))
    assert "62 patients assessed" in flow
    assert "1 <i>unknown" in flow
    assert "60 patients in the cohort" in flow
    classes, parts = found.tables("baseline")
    assert classes["age_years, median (quartiles)"]["test"] == "Kruskal-Wallis"
    assert "training (n = 42)" in parts["age_years, median (quartiles)"]
    (gaps,) = found.tables("missing")
    assert sum(int(cell.split()[0]) for cell in list(gaps["age_years"].values())[1:]) == 1
    assert "No lesion was found in 2 patients of test" in found.text
    assert "not applicable: phantoms" not in found.text


def test_a_cohort_of_other_answers_is_refused(small, cohort, tmp_path):
    (tmp_path / "cohort").mkdir()
    write(cohort, tmp_path / "cohort")

    with pytest.raises(UnusableScores, match="the answers are of phantoms"):
        read_run(BUNDLE, small, tmp_path / "cohort", None)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"bundle_digest": "sha256:0"}, "the answers are those of the bundle sha256:0"),
        ({"tasks": ["occult_n2", "occult_n1"]}, "answers of .* for a bundle of"),
        ({"surprise": 1}, "unknown key surprise"),
    ],
)
def test_answers_that_do_not_belong_to_the_bundle_are_refused(small, changes, told):
    altered(small, **changes)

    with pytest.raises(UnusableScores, match=told):
        read_run(BUNDLE, small, None, None)


def test_tables_that_do_not_fit_are_refused(small):
    rewritten(small / "occult_n2" / "training.csv", {",pet,": ",ct,"})

    with pytest.raises(UnusableScores, match="occult_n2: training has"):
        read_run(BUNDLE, small, None, None)


def test_too_few_validation_cases_to_calibrate_by_are_refused_with_the_task(tmp_path):
    sizes = {**SMALL, Part.VALIDATION: 10}
    folder = made(tmp_path / "answers", sizes=sizes, models=FEW, pictures=False)

    with pytest.raises(UnusableScores, match="occult_n1 cannot be judged: each class needs at"):
        parsed(folder)


def test_a_table_without_fusion_is_refused(tmp_path):
    folder = made(tmp_path / "answers", sizes=SMALL, models={"pet": 1.0}, pictures=False)

    with pytest.raises(UnusableScores, match="no column fusion"):
        read_run(BUNDLE, folder, None, None)


def test_pictures_of_another_size_are_refused(small):
    np.savez(
        small / "occult_n1" / "cases.npz",
        planes=np.zeros((1, 2, 3, 7, 7), np.float16),
        case=["c"],
        kind=["positive-right"],
        margin=[1.0],
    )

    run = read_run(BUNDLE, small, None, None)

    with pytest.raises(UnusableScores, match="pictures of cases are"):
        montage(run.tasks[0], run.bundle)


@pytest.fixture
def bare(tmp_path):
    """The bundle that ships, without records of parity, and answers of it."""
    bundle = bundles.load(BUNDLE)
    files = {name: (BUNDLE / name).read_bytes() for name in bundle.card.files}
    without = bundles.save(tmp_path / "bare", replace(bundle.card, parity=()), files)
    answers = made(tmp_path / "answers", sizes=SMALL, models={"fusion": 1.0}, pictures=False)
    altered(answers, bundle_digest=without.digest)
    return without, answers


def parity_told(folder, answers):
    run = read_run(folder, answers, None, None)
    return Parsed(html(Page(title="t", lead="", sections=(model_card(run),), colophon="")))


def test_a_card_without_records_of_parity_says_so(bare):
    bundle, answers = bare

    assert "The card has no records of parity" in parity_told(bundle.folder, answers).text


def test_a_copy_of_the_bundle_with_records_of_parity_is_the_same_bundle(bare, tmp_path):
    bundle, answers = bare
    record = Parity(
        task="occult_n1",
        engine="openvino",
        precision="bf16",
        cases=100,
        positives=30,
        auroc_f32=0.9,
        auroc=0.8995,
        probability_difference_max=0.02,
        sides_changed=1,
    )
    files = {name: (BUNDLE / name).read_bytes() for name in bundle.card.files}
    copy = bundles.save(tmp_path / "copy", replace(bundle.card, parity=(record,)), files)

    (records,) = parity_told(copy.folder, answers).tables("parity")

    assert copy.digest != bundle.digest
    assert records["occult_n1"]["may run"] == "no"  # a probability moved by more than 0.01


def test_every_item_of_the_guidelines_is_answered():
    tripod, claim = checklists.load()

    assert [one.item for one in claim.items] == [str(n) for n in range(1, 45)]
    assert {re.match(r"\d+", one.item)[0] for one in tripod.items} == {str(n) for n in range(1, 28)}
    assert len({one.item for one in tripod.items}) == len(tripod.items) == 52
    assert all(one.asks and (one.where or one.says) for one in (*tripod.items, *claim.items))


@pytest.fixture
def write_pdf():
    """What prints, or the reason why this machine cannot."""
    try:
        return printer()
    except OSError as missing:
        pytest.skip(str(missing))


@pytest.mark.usefixtures("write_pdf")
def test_the_command_writes_the_same_page_again_and_prints_it(tmp_path, capsys):
    answers = made(tmp_path / "answers", sizes=SMALL, models={"fusion": 1.0}, pictures=False)
    first, again = tmp_path / "a.html", tmp_path / "b.html"
    printed = tmp_path / "a.pdf"
    given = ["report", str(BUNDLE), "--answers", str(answers), "--replicates", "100", "--quiet"]

    assert main([*given, "--out", str(first), "--pdf", str(printed)]) == 0
    assert main([*given, "--out", str(again)]) == 0

    assert first.read_bytes() == again.read_bytes()
    assert printed.read_bytes().startswith(b"%PDF-")
    assert "There is no other model to hold fusion against" in first.read_text(encoding="utf-8")
    assert f"{first}: " in capsys.readouterr().out
    assert main([*given, "--out", str(first)]) == 1
    assert "is there already" in capsys.readouterr().err


def test_the_same_page_is_printed_as_the_same_bytes(write_pdf, tmp_path):
    for name in ("a", "b"):
        write_pdf("<!DOCTYPE html><html lang='en'><title>t</title><h1>One</h1>", tmp_path / name)

    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


@pytest.mark.parametrize(
    ("broken", "told"),
    [
        ("raise OSError(\"cannot load library 'libpango-1.0-0'\")", "apt-get install libpango"),
        ("raise ImportError", "needs the package weasyprint"),
    ],
)
def test_without_pango_printing_is_refused_before_any_work(
    tmp_path, monkeypatch, capsys, broken, told
):
    (tmp_path / "weasyprint.py").write_text(broken)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "weasyprint", raising=False)
    out = tmp_path / "a.html"
    given = ["report", str(tmp_path / "no bundle"), "--answers", "no answers", "--out", str(out)]

    assert main([*given, "--pdf", str(tmp_path / "a.pdf")]) == 1

    assert told in capsys.readouterr().err
    assert not out.exists()


@pytest.mark.parametrize(
    ("found", "told"),
    [
        (words.number(-0.00001), "0.000"),
        (words.number(-0.5), "\u22120.500"),
        (words.number(float("nan")), "not known"),
        (words.number(float("inf"), 2), "not reached"),
        (words.interval(Interval(value=0.5, low=0.25, high=0.75), 2), "0.50 (0.25 to 0.75)"),
        (
            words.interval(Interval(value=1.0, low=float("nan"), high=float("nan"))),
            "1.000 (bounds not known)",
        ),
        (words.p_value(0.0009), "< 0.001"),
        (words.p_value(0.0496), "0.050"),
        (words.share(24, 150), "24 (16.0 %)"),
        (words.listed(["a", "b", "c"]), "a, b and c"),
        (words.listed(["a"]), "a"),
        (words.model_name("of others"), "of others"),
    ],
)
def test_numbers_are_spelt_in_one_way(found, told):
    assert plain_words(found) == told
