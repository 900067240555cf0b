"""The model card: what the bundle takes in, gives out, was trained on and must not be asked."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from inference.card import Card, Parity
from inference.codec import encode
from training.partition import Part
from training.reporting.answers import FUSION, Run
from training.reporting.card_words import WORDS
from training.reporting.page import Block, Paragraph, Section, Tabular
from training.reporting.words import model_name, number
from training.statistics.discrimination import auroc_interval
from training.statistics.operating_point import confusion


def model_card(run: Run) -> Section:
    """Tell everything that the card of the bundle holds."""
    card = run.bundle.card
    return Section(
        anchor="model-card",
        title="Model card",
        blocks=(
            Paragraph(text=card.intended_use, important=True),
            Tabular(
                caption="The bundle.",
                heads=("what", "value"),
                rows=(
                    ("name", f"{card.name} {card.version}"),
                    ("digest", run.bundle.digest),
                    *_made(run),
                    ("training data", card.training_data),
                    ("architecture", card.architecture),
                ),
                words=True,
            ),
        ),
        parts=(
            _told("training-set", "Training set", _pairs(encode(card.training_set))),
            _told("inputs", "Inputs", _pairs(encode(card.inputs)), _INPUTS),
            Section(anchor="tasks", title="Tasks, calibration and cut-offs", blocks=_tasks(card)),
            _told("limits", "Limits", _pairs(encode(card.limits)), _LIMITS),
            Section(anchor="parity", title="Fewer bits", blocks=_parity(card)),
            Section(anchor="agreement", title="Agreement with the card", blocks=(_agreed(run),)),
            _told("files", "Files", card.files.items()),
        ),
    )


_INPUTS = (
    "Around the lesion a cube is resampled on the patient's axes; the network sees the middle "
    "squares of three planes of it, in PET and CT, clipped, less the mean and by the SD of the "
    "training set."
)
_LIMITS = "The node judges every study by these, and marks or withholds predictions outside them."


def _told(anchor: str, title: str, pairs: Iterable[tuple[str, str]], lead: str = "") -> Section:
    rows = tuple(pairs)
    if not rows:
        return Section(anchor=anchor, title=title, blocks=(Paragraph(text="The card tells none."),))
    table = Tabular(caption=f"{title}.", heads=("what", "value"), rows=rows, words=True)
    blocks: tuple[Block, ...] = (Paragraph(text=lead), table) if lead else (table,)
    return Section(anchor=anchor, title=title, blocks=blocks)


def _pairs(value: object, above: str = "") -> Iterator[tuple[str, str]]:
    """Yield names and values of a JSON object, those of objects inside it with their place."""
    assert isinstance(value, Mapping)
    for name, one in value.items():
        told = above + WORDS.get(str(name), str(name).replace("_", " "))
        if isinstance(one, Mapping):
            yield from _pairs(one, f"{told}, ")
        else:
            yield told, _spelt(one)


def _spelt(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.0f}" if value.is_integer() else f"{value:.6g}"
    if isinstance(value, list | tuple):
        return _list(value)
    if isinstance(value, Mapping):
        return " ".join(_spelt(one) for one in value.values())
    return "none" if value is None else str(value)


def _list(value: Sequence[object]) -> str:
    """Spell out a range as such, and points one after the other."""
    if len(value) == 2 and all(isinstance(one, int | float) for one in value):
        return " to ".join(map(_spelt, value))
    if any(isinstance(one, list | tuple) for one in value):
        return "; ".join(_spelt(one).replace(" to ", ": ") for one in value)
    return ", ".join(map(_spelt, value)) or "none"


def _tasks(card: Card) -> tuple[Block, ...]:
    each = [dict(_pairs(encode(task))) for task in card.tasks]
    names = dict.fromkeys(name for one in each for name in one)
    return (
        Tabular(
            caption="What each network answers, and how its margin becomes a probability.",
            heads=("what", *(task.name for task in card.tasks)),
            rows=tuple((name, *(one.get(name, "") for one in each)) for name in names),
            note="Probability: sigmoid(slope x margin + intercept), or read off the points (margin "
            "and probability). High is a probability strictly above the cut-off.",
            words=True,
        ),
    )


def _parity(card: Card) -> tuple[Block, ...]:
    if not card.parity:
        return (
            Paragraph(
                text="The card has no records of parity (petct-train parity), so that the networks "
                "run in float32 alone."
            ),
        )
    return (
        Tabular(
            caption="What the networks lose in fewer bits, on their validation cases.",
            heads=("task", "engine", "precision", "AUROC in float32", "AUROC", "moved", "may run"),
            rows=tuple(map(_record, card.parity)),
            note="Moved: the greatest change of a probability.",
        ),
    )


def _record(one: Parity) -> tuple[str, ...]:
    return (
        one.task,
        one.engine,
        one.precision,
        number(one.auroc_f32, 4),
        number(one.auroc, 4),
        number(one.probability_difference_max, 4),
        "yes" if one.holds else "no",
    )


def _made(run: Run) -> tuple[tuple[str, str], ...]:
    """Tell how the bundle was made, which only its own run knows."""
    if not run.own:
        return ()
    return (
        ("recipe", f"{run.answers.recipe} {run.answers.version}"),
        ("seed", str(run.answers.seed)),
        ("split", run.answers.split_digest),
    )


def _agreed(run: Run) -> Block:
    if run.own:
        return _agreement(run)
    return Paragraph(
        text="The card tells of the bundle's own test set, the answers of other patients; the "
        "sections on external validation compare both."
    )


def _agreement(run: Run) -> Tabular:
    """Hold the AUROCs of the card against those of the answers."""
    rows = []
    for one in run.tasks:
        table = one.tables[Part.TEST]
        for told in run.bundle.card.performance:
            if told.task != one.task.name or told.model not in table.models:
                continue
            found = auroc_interval(table.labels, table.models[told.model])
            agrees = abs(found.value - told.auroc) < 1e-4
            rows.append(
                (
                    f"{one.task.meaning}, {model_name(told.model)}",
                    number(told.auroc, 4),
                    number(found.value, 4),
                    "yes" if agrees else "NO",
                )
            )
        rows.append(_counts(run, one.task.name))
    return Tabular(
        caption="What the card says of the test part, and what the answers give.",
        heads=("what", "card", "answers", "agree"),
        rows=tuple(rows),
    )


def _counts(run: Run, name: str) -> tuple[str, str, str, str]:
    """Hold the confusion counts of the card against those of the answers."""
    (one,) = (one for one in run.tasks if one.task.name == name)
    table = one.tables[Part.TEST]
    counts = confusion(table.labels, table.models[FUSION], one.cutoff_margin)
    told = next((row for row in run.bundle.card.at_cutoff if row.task == name), None)
    ours = " / ".join(map(str, vars(counts).values()))
    theirs = (
        "not told"
        if told is None
        else " / ".join(str(getattr(told, part)) for part in vars(counts))
    )
    agrees = "yes" if ours == theirs else "NO" if told else ""
    return f"{one.task.meaning}, TP / FN / FP / TN", theirs, ours, agrees
