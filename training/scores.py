"""What every model says of every case, as tables that ``petct-train statistics`` reads.

``petct-train bundle --answers DIR`` writes:

``DIR/TASK/PART.csv``
    For each task, and each of the parts ``training``, ``validation``, ``test`` and, where the
    cohort has one, ``external``: one row a case, in the order of the cohort. Columns: ``case``,
    ``label`` (0 or 1), one for each model, then what is known of the case.

    *Models*: ``fusion`` (the bundle's network), the recipe's rivals (``pet``, ``ct``, ``early``
    ...), ``clinical``, and ``bayes`` where labels were drawn with known chances. Each score is a
    margin, that is log odds before calibration; higher means positive. Networks answer without
    augmentation. What the networks and the clinical model say of the part ``training`` they say of
    cases that they were fitted on.

    *Of the case*: ``subgroup:sex``, ``subgroup:size``, ``subgroup:scanner``, ``subgroup:centre``;
    ``time`` (years) and ``event`` where every case of the part has both; ``treatment``. A subgroup
    that is not known is empty. A column is absent where nothing in the cohort tells it.

    ``petct-train evaluate BUNDLE --cohort`` writes the part ``external`` alone, of the model
    ``fusion``, with ``subgroup:card``: whether the bundle's card covers the study.

``DIR/TASK/cases.npz``
    The cases of the test that fusion told best and worst, up to four of each ``kind``:
    ``positive-right``, ``positive-wrong``, ``negative-right``, ``negative-wrong``, most extreme
    first. Arrays of one length: ``planes`` (float16, ``(n, modality, plane, row, column)``, SUVbw
    and HU before normalisation), ``case``, ``index`` (row of ``test.csv``), ``label``, ``margin``,
    ``kind``. Nothing in it is pickled.

``DIR/covariates.csv``
    ``case``, ``part``, and what the clinical model may know, one row a case of any part.

``DIR/answers.json``
    ``Answers`` of this module: names, digests, and counts.
"""

import csv
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray
from torch import nn

from inference.card import Inputs
from inference.codec import decode, encode, loads
from training.clinical import Clinical
from training.cohort import Group, Labels
from training.feeding import margins, seen_by
from training.images import Floats
from training.partition import Part

SCHEMA = 1
FILE = "answers.json"
CASES = "cases.npz"
COVARIATES = "covariates.csv"
EXTREMES = 4
"""How many cases of each kind are kept for pictures."""


@dataclass(frozen=True, kw_only=True)
class Answers:
    """What ``answers.json`` holds."""

    schema: int = SCHEMA
    recipe: str
    version: str
    seed: int | None
    """None where a bundle is evaluated on patients of others: nothing was drawn."""
    bundle_digest: str
    source: str
    """``phantoms``, or ``patients``."""
    cohort: str
    """The name of the cohort of patients; of phantoms the recipe's."""
    cohort_digest: str = ""
    """Of the cohort of patients; empty for phantoms."""
    split_digest: str
    """Of which case lies in which part, and of nothing else."""
    tasks: tuple[str, ...]
    models: tuple[str, ...]
    """In the order of the columns."""
    cases: Mapping[str, int]
    """By part."""
    positives: Mapping[str, Mapping[str, int]]
    """By task, then by part."""
    without_lesion: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """By part, the patients in whom no lesion was found: they stand in no table."""
    withheld: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """By part, those of an evaluation whose prediction the card withholds: neither do they."""
    marked: Mapping[str, int] = field(default_factory=dict)
    """By the code of the reason, how many predictions of an evaluation the card marks."""
    parts: tuple[str, ...] = ()
    """Of an evaluation, which parts of the cohort's split were asked; empty: everybody."""
    unseen: str = ""
    """Of an evaluation, how it is known that the bundle was not made with these patients."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Scores:
    """What every model says of the cases of one part, for one task."""

    group: Group
    labels: Labels
    models: Mapping[str, Floats]
    """Margins, by the name of the model: ``fusion`` first."""


def scores_of(
    group: Group,
    task: int,
    *,
    networks: Mapping[str, nn.Module],
    clinical: Clinical,
    inputs: Inputs,
) -> Scores:
    """Ask every model about the cases of one part."""
    images = group.cohort.images
    models = {
        name: margins(network, seen_by(network, images, inputs), inputs, group.indices)
        for name, network in networks.items()
    }
    models["clinical"] = clinical(group.covariates)
    if group.cohort.risks is not None:
        models["bayes"] = _log_odds(group.cohort.risks[group.indices, task])
    return Scores(group=group, labels=group.labels(task), models=models)


def write(folder: Path, answers: Answers, scores: Sequence[Mapping[Part, Scores]]) -> None:
    """Write everything, the tasks in the order of ``answers``; it appears whole or not at all."""
    part_folder = folder.with_name(f".{folder.name}.{uuid4().hex}.part")
    part_folder.mkdir(parents=True)
    for task, of_parts in zip(answers.tasks, scores, strict=True):
        place = part_folder / task
        place.mkdir()
        judged = of_parts.get(Part.TEST) or of_parts[Part.EXTERNAL]
        for part, found in of_parts.items():
            _write_table(place / f"{part}.csv", _table(found))
        np.savez_compressed(place / CASES, allow_pickle=False, **_extremes(judged))
    _write_table(part_folder / COVARIATES, _covariates(scores[0]))
    text = json.dumps(encode(answers), indent=1, ensure_ascii=False)
    (part_folder / FILE).write_text(text + "\n", encoding="utf-8")
    part_folder.rename(folder)


def read(folder: Path) -> Answers:
    """Read ``answers.json``; ``Malformed`` says what does not fit."""
    return decode(Answers, loads((folder / FILE).read_text(encoding="utf-8")))


def _table(scores: Scores) -> Iterable[Sequence[object]]:
    group = scores.group
    known = {
        name: [cells[index] for index in group.indices]
        for name, cells in group.cohort.columns.items()
    }
    told = {name: cells for name, cells in known.items() if _may_stand(name, known)}
    yield ["case", "label", *scores.models, *told]
    columns = [
        group.cases,
        scores.labels.astype(int).tolist(),
        *(values.tolist() for values in scores.models.values()),
        *told.values(),
    ]
    yield from zip(*columns, strict=True)


def _may_stand(name: str, known: Mapping[str, Sequence[str]]) -> bool:
    """Tell whether every cell is filled, where the statistics need that."""
    if name.startswith("subgroup:"):
        return any(known[name])
    needed = ("time", "event") if name in {"time", "event"} else (name,)
    return all(all(known.get(one, [""])) for one in needed)


def _covariates(scores: Mapping[Part, Scores]) -> Iterable[Sequence[object]]:
    first = next(iter(scores.values())).group.cohort
    yield ["case", "part", *first.covariate_names]
    for part, found in scores.items():
        rows = zip(found.group.cases, found.group.covariates.tolist(), strict=True)
        for case, values in rows:
            yield [case, part.value, *("" if math.isnan(value) else value for value in values)]


def _extremes(scores: Scores) -> dict[str, NDArray[np.generic]]:
    """Return the arrays of ``cases.npz``."""
    fusion, chosen, kinds = scores.models["fusion"], [], []
    for name, truth in (("positive", True), ("negative", False)):
        rising = np.flatnonzero(scores.labels == truth)
        rising = rising[np.argsort(fusion[rising], kind="stable")]
        most = min(EXTREMES, len(rising) // 2)
        lowest, highest = rising[:most], rising[::-1][:most]
        right, wrong = (highest, lowest) if truth else (lowest, highest)
        chosen += [right, wrong]
        kinds += [f"{name}-right"] * most + [f"{name}-wrong"] * most
    index = np.concatenate(chosen)
    return {
        "planes": np.asarray(scores.group.cohort.images.planes[scores.group.indices[index]]),
        "case": np.asarray([scores.group.cases[one] for one in index]),
        "index": index,
        "label": scores.labels[index],
        "margin": fusion[index],
        "kind": np.asarray(kinds),
    }


def _write_table(path: Path, rows: Iterable[Sequence[object]]) -> None:
    with path.open("x", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)


def _log_odds(chances: Floats) -> Floats:
    inside = np.clip(chances, 1e-12, 1 - 1e-12)
    odds: Floats = np.log(inside) - np.log1p(-inside)
    return odds
