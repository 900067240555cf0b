"""``petct-train report``: a page that stands alone, and tells the numbers of the statistics."""

import base64
import io
import json
import re
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from PIL import Image

from inference import bundle as bundles
from tests.training.made_answers import MODELS, made
from tests.training.reported import ASKED, BUNDLE, RICH, Parsed, plain, plain_words
from training.__main__ import main
from training.partition import Part
from training.reporting import words
from training.reporting.answers import read_run
from training.reporting.page import html
from training.reporting.sections import page
from training.statistics.table import read
from training.statistics.values import Interval


@pytest.fixture(scope="module")
def rich(tmp_path_factory):
    """Answers with everything in them, an external part too."""
    return made(
        tmp_path_factory.mktemp("rich") / "answers",
        rich=RICH,
        sizes={Part.TRAINING: 120, Part.VALIDATION: 80, Part.TEST: 90, Part.EXTERNAL: 60},
    )


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Logs of two of the first task's networks, of four epochs each."""
    folder = tmp_path_factory.mktemp("runs")
    for model, best in (("fusion", 2), ("pet", 3)):
        log = folder / f"occult_n1-{model}" / "log.csv"
        log.parent.mkdir()
        rows = [f"{n},0.01,{1 / (n + 1)},{0.8 if n + 1 == best else 0.6}" for n in range(4)]
        log.write_text("\n".join(["epoch,learning_rate,loss,auroc", *rows, ""]))
    return folder


@pytest.fixture(scope="module")
def text(rich, runs):
    return html(page(read_run(BUNDLE, rich, None, runs), ASKED))


@pytest.fixture(scope="module")
def full(text):
    return Parsed(text)


def test_the_page_is_html_that_a_strict_reader_takes(full, text):
    levels = [int(one.tag[1]) for one in full.all("h1", "h2", "h3")]

    assert full.errors == []
    assert text.startswith("<!DOCTYPE html>")
    assert full.root.get("lang") == "en"
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))


def test_the_page_loads_nothing_and_runs_nothing(full, text):
    attributes = [value for one in full.root.iter() for value in one.attrib.values()]
    pictures = [base64.b64decode(one.get("src").partition(",")[2]) for one in full.all("img")]
    drawings = [one.decode() for one in pictures if one.startswith(b"<?xml")]

    assert full.all("script", "iframe", "link", "object", "form") == []
    assert not any(value.startswith(("http", "//", "javascript")) for value in attributes)
    assert all(one.get("src").startswith("data:image/") for one in full.all("img"))
    assert all(one.get("href").startswith("#") for one in full.all("a"))
    assert "url(" not in plain(full.all("style")[0])
    assert "default-src 'none'" in text
    assert len(drawings) > 20
    assert not [one for one in drawings if re.search(r'href="(?!#)', one) or "<script" in one]
    assert len(text.encode()) < 2_000_000


def test_every_link_leads_to_one_place(full):
    named = Counter(one.get("id") for one in full.root.iter() if one.get("id"))

    assert set(named.values()) == {1}
    assert {one.get("href")[1:] for one in full.all("a")} <= set(named)


def test_figures_tell_their_numbers_and_tables_have_headings(full):
    assert all(len(one.get("alt")) > 30 for one in full.all("img"))
    assert all(one.get("scope") in {"row", "col"} for one in full.all("th"))
    assert all(plain(one) for one in full.all("th", "caption", "figcaption"))
    numbers = [int(re.match(r"(?:Table|Figure) (\d+)\.", plain(one))[1]) for one in full.all("b")]
    assert len(numbers) > 50
    figures = [plain(one) for one in full.all("figcaption")]
    assert [one.split(".")[0] for one in figures] == [
        f"Figure {n + 1}" for n in range(len(figures))
    ]


@pytest.mark.parametrize(("place", "task"), [(1, "occult_n1"), (2, "occult_n2")])
def test_numbers_are_those_that_the_statistics_print(full, rich, tmp_path, place, task):
    out = tmp_path / "told.json"
    folder = rich / task
    tables = ["--training", folder / "training.csv", "--validation", folder / "validation.csv"]
    arguments = [folder / "test.csv", *tables, "--reference", "fusion", "--replicates", "100"]
    assert main(["statistics", *map(str, arguments), "--out", str(out)]) == 0
    told = json.loads(out.read_text())

    (ranks,) = full.tables(f"task-{place}-roc")
    (calls,) = full.tables(f"task-{place}-cutoff")
    for name in MODELS:
        row, of_model = ranks[words.model_name(name)], told["models"][name]
        assert row["AUROC"] == spelt(of_model["auroc"])
        assert row["average precision"] == spelt(of_model["average_precision"])
        if name != "fusion":
            against = told["comparisons"][name]
            assert row["AUROC of fusion less that"] == spelt(against["auroc"])
            assert row["p"] == plain_words(words.p_value(against["auroc"]["p"]))
            assert row["adjusted p"] == plain_words(words.p_value(against["auroc_q"]))
            at, rates = calls[words.model_name(name)], of_model["at_cutoff"]
            assert at["TP"] == str(rates["counts"]["true_positives"])
            assert at["sensitivity"] == spelt(rates["sensitivity"])
            assert at["PPV"] == spelt(rates["ppv"])


def spelt(told):
    return plain_words(words.interval(Interval(**{k: told[k] for k in ("value", "low", "high")})))


def test_fusion_is_called_as_the_node_calls_it(full, rich):
    task = bundles.load(BUNDLE).card.task("occult_n1")
    table = read(rich / "occult_n1" / "test.csv")
    chances = 1 / (
        1 + np.exp(-(task.calibration.slope * table.models["fusion"]) - task.calibration.intercept)
    )
    called = chances > task.cutoff

    (calls,) = full.tables("task-1-cutoff")
    (_, benefit) = full.tables("task-1-calibration")

    row = calls["PET/CT fusion (the bundle)"]
    assert row["TP"] == str(int(np.sum(called & table.labels)))
    assert row["FP"] == str(int(np.sum(called & ~table.labels)))
    hits, alarms = ((chances > 0.2) & table.labels).sum(), ((chances > 0.2) & ~table.labels).sum()
    worth = (hits - 0.25 * alarms) / len(table.labels)
    assert benefit["0.2"]["fusion"].startswith(f"{worth:.3f} (")


def test_the_risk_groups_are_those_above_any_cut_off(full, rich):
    high = np.zeros(90, dtype=bool)
    for task in bundles.load(BUNDLE).tasks:
        margins = read(rich / task.name / "test.csv").models["fusion"]
        high |= np.array([task.calibration.probability(one) for one in margins]) > task.cutoff

    groups = full.tables("survival")[0]

    assert groups["high"]["events"].endswith(f"of {high.sum()}")
    assert groups["low"]["events"].endswith(f"of {90 - high.sum()}")
    assert groups["low"]["hazard ratio"] == "reference"


def test_cases_are_described_by_what_was_measured(full):
    """Diameters of 10 to 90 mm in equal numbers, which the answers hold as logarithms."""
    (found,) = full.tables("baseline")
    (gaps,) = full.tables("missing")

    assert found["diameter, median (quartiles)"]["test (n = 90)"] == "50 (30 to 70)"
    assert found["diameter, median (quartiles)"]["test"] == "Kruskal-Wallis"
    assert gaps["male"]["test (n = 90)"] == "45 (50 %)"
    assert found["\u00b7 yes"]["test (n = 90)"] == "22 (49 %)"  # places 2, 6 ... of the even ones


def test_best_and_worst_cases_are_shown_with_where_the_network_looked(full, rich):
    with np.load(rich / "occult_n1" / "cases.npz") as held:
        pet, cases = held["planes"][0, 0, 0].astype(float), held["case"]
    strips = list(full.section("task-1-cases").iter("img"))
    picture = Image.open(io.BytesIO(base64.b64decode(strips[0].get("src").partition(",")[2])))
    shown = np.asarray(picture.convert("RGB")).astype(int)
    side = len(pet)

    assert len(strips) == len(cases) == 8
    assert f"case {cases[0]}" in strips[0].get("alt")
    assert shown.shape == (side, 6 * side + 5 * 2, 3)
    hot, cold = (np.unravel_index(at, pet.shape) for at in (pet.argmax(), pet.argmin()))
    assert shown[hot].max() < shown[cold].min() - 50
    ct, looked = (shown[:, start : start + side] for start in (side + 2, 2 * (side + 2)))
    assert np.any(looked[..., 0] - looked[..., 2] > 60)
    assert np.abs(ct[..., 0] - ct[..., 2]).max() < 20


def test_coronal_planes_stand_upright(full, rich):
    """The rows of a cube run towards the head, those of a picture towards the feet."""
    with np.load(rich / "occult_n1" / "cases.npz") as held:
        ct = held["planes"][0, 1, 1].astype(float)
    strip = next(full.section("task-1-cases").iter("img"))
    picture = Image.open(io.BytesIO(base64.b64decode(strip.get("src").partition(",")[2])))
    side = len(ct)
    start = 4 * (side + 2)
    shown = np.asarray(picture.convert("L")).astype(float)[:, start : start + side]

    upright, upside_down = (np.corrcoef(shown.ravel(), one.ravel())[0, 1] for one in (ct[::-1], ct))

    assert upright > 0.95 > upside_down


def test_epochs_are_told_from_the_logs(full):
    (picture,) = full.section("task-1-epochs").iter("img")

    assert "PET/CT fusion 0.800 in epoch 2 of 4 and PET only 0.800 in epoch 3 of 4" in picture.get(
        "alt"
    )
    assert "There is no log of this task's networks" in plain(full.section("task-2-epochs"))


def test_the_card_is_held_against_the_answers(full):
    (found,) = full.tables("agreement")
    first = bundles.load(BUNDLE).card.performance[0]

    assert (first.task, first.model) == ("occult_n1", "fusion")
    told = found["Occult N1 metastasis, PET/CT fusion (the bundle)"]["card"]
    assert told == f"{first.auroc:.4f}"
    assert {row["agree"] for row in found.values()} == {"NO"}  # the answers are made up
