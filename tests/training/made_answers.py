"""Answers of a run that never was: scores drawn so that every question has something to tell."""

import csv
import json
import math
from dataclasses import replace

import numpy as np

from inference import bundle as bundles
from inference.codec import encode
from training.images import Drawing, draw_images
from training.partition import Part
from training.recipe import AugmentationRecipe
from training.scores import CASES, COVARIATES, FILE, Answers

MODELS = {"fusion": 1.6, "pet": 0.8, "ct": 1.0, "clinical": 0.4, "bayes": 2.2}
"""How far apart the classes' mean margins lie, in standard deviations."""
SIZES = {Part.TRAINING: 240, Part.VALIDATION: 120, Part.TEST: 150}


def made(folder, *, sizes=SIZES, models=MODELS, rich=(), source="phantoms", pictures=True):
    """Write answers for the bundle that ships; ``rich`` names further columns, as in a row."""
    bundle = bundles.load(bundles.default_path())
    counts = {}
    for number, task in enumerate(bundle.tasks):
        place = folder / task.name
        place.mkdir(parents=True)
        counts[task.name] = {}
        for part, cases in sizes.items():
            rows = _rows(np.random.default_rng([number, *part.encode()]), cases, models, rich)
            counts[task.name][part] = sum(row["label"] for row in rows)
            _write(place / f"{part}.csv", rows)
            if part is Part.TEST and pictures:
                np.savez_compressed(place / CASES, **_extremes(rows, bundle.card.inputs))
    _write(folder / COVARIATES, _traits(sizes))
    answers = Answers(
        recipe="made",
        version="0.1",
        seed=7,
        bundle_digest=bundle.digest,
        source=source,
        cohort="made",
        split_digest="sha256:" + "0" * 64,
        tasks=tuple(task.name for task in bundle.tasks),
        models=tuple(models),
        cases={part.value: cases for part, cases in sizes.items()},
        positives=counts,
    )
    (folder / FILE).write_text(json.dumps(encode(answers)), encoding="utf-8")
    return folder


def altered(folder, **changes):
    """Change what ``answers.json`` tells."""
    path = folder / FILE
    told = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**told, **changes}), encoding="utf-8")


def rewritten(path, changes):
    """Exchange texts in a file."""
    text = path.read_text(encoding="utf-8")
    for old, new in changes.items():
        assert old in text
        text = text.replace(old, new)
    path.write_text(text, encoding="utf-8")


def edited(path, changes):
    """Change the rows of a table; ``changes`` is told a row and its place."""
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    path.unlink()
    _write(path, [row | changes(row, place) for place, row in enumerate(rows)])


def _rows(rng, cases, models, rich):
    labels = (np.arange(cases) < 0.3 * cases).astype(int)
    common = rng.normal(size=cases)
    margins = {
        name: 0.6 * common + 0.8 * rng.normal(size=cases) + apart * (labels - 0.5)
        for name, apart in models.items()
    }
    rows = []
    for place, label in enumerate(labels.tolist()):
        row = {"case": f"c{place:04d}", "label": label}
        row |= {name: round(float(scores[place]), 6) for name, scores in margins.items()}
        row["subgroup:sex"] = "FM"[place % 2]
        row["subgroup:scanner"] = ("small", "wide", "classic")[place % 3]
        death, end = rng.exponential(6 / (1 + 2 * label)), rng.uniform(1, 8)
        told = {
            "time": round(float(min(death, end)), 3),
            "event": int(death <= end),
            "treatment": "lobectomy" if rng.random() < 0.5 else "sublobar",
            "reader:senior/a": int(rng.random() < 0.2 + 0.5 * label),
            "reader:junior/b": int(rng.random() < 0.3 + 0.3 * label),
            "pet:entropy": round(float(common[place] + rng.normal()), 4),
            "pet:skewness": round(float(rng.normal()), 4),
            "ct:contrast": round(float(rng.normal() - common[place]), 4),
        }
        rows.append(row | {name: told[name] for name in rich})
    return rows


def _traits(sizes):
    """Diameters of 10, 20, 30 ... mm as logarithms, and the sex of every second case."""
    return [
        {
            "case": f"{part}-{place}",
            "part": part.value,
            "male": place % 4 / 2 if place % 2 == 0 else "",
            "log_diameter": math.log(10 * (1 + place % 9)),
        }
        for part, cases in sizes.items()
        for place in range(cases)
    ]


def _extremes(rows, inputs):
    """The two best and the two worst of each class, with phantoms as pictures."""
    fusion = np.array([row["fusion"] for row in rows])
    label = np.array([row["label"] for row in rows], dtype=bool)
    index, kinds = [], []
    for name, truth in (("positive", True), ("negative", False)):
        rising = np.flatnonzero(label == truth)
        rising = rising[np.argsort(fusion[rising])]
        ends = (rising[::-1][:2], rising[:2]) if truth else (rising[:2], rising[::-1][:2])
        index += [*ends[0], *ends[1]]
        kinds += [f"{name}-right"] * 2 + [f"{name}-wrong"] * 2
    return {
        "planes": _planes(inputs, len(index)),
        "case": np.array([rows[one]["case"] for one in index]),
        "index": np.array(index),
        "label": label[index],
        "margin": fusion[index],
        "kind": np.array(kinds),
    }


def _planes(inputs, cases):
    unit = replace(
        inputs, pet=replace(inputs.pet, mean=0.0, sd=1.0), ct=replace(inputs.ct, mean=0.0, sd=1.0)
    )
    drawing = Drawing(scanners=("small",), inputs=unit, augmentation=AUGMENTATION, variants=0)
    return draw_images(range(1, cases + 1), drawing).planes


def _write(path, rows):
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, list(rows[0]))
        table.writeheader()
        table.writerows(rows)


AUGMENTATION = AugmentationRecipe(
    variants=0, turn_probability=0, shift_mm=0, scale=(1, 1), pet_gain=0, ct_noise_hu=0
)
