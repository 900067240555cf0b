"""Tables of what a bundle is worth, in Markdown, for the shell and for documents."""

from collections.abc import Sequence

from inference.card import AtCutoff, Auroc, Card, Coverage, Task

MODELS = {
    "fusion": "PET/CT fusion (the bundle)",
    "pet": "PET only",
    "ct": "CT only",
    "early": "early fusion",
    "late": "late fusion",
    "fusion-3d": "PET/CT fusion of cubes",
    "pet-3d": "PET only, cube",
    "ct-3d": "CT only, cube",
    "early-3d": "early fusion of cubes",
    "late-3d": "late fusion of cubes",
    "clinical": "clinical only",
    "bayes": "Bayes (best possible)",
}


def performance_table(card: Card) -> str:
    """Return AUROCs and, where the card has them, what cut-offs, sets and distances do."""
    lines = [auroc_table(card.performance)]
    for heads, rows in (
        (_CUTOFF_HEADS, [_cutoff_line(card, row) for row in card.at_cutoff]),
        (_SETS_HEADS, [_sets_line(card, row) for row in card.coverage]),
        (_DISTANCE_HEADS, [_distance_line(task) for task in card.tasks if task.familiarity]),
    ):
        if rows:
            ruler = f"|---{'|--:' * (len(heads) - 1)}|"
            lines.append("\n".join([f"| {' | '.join(heads)} |", ruler, *rows]) + "\n")
    return "\n".join(lines)


def auroc_table(performance: Sequence[Auroc]) -> str:
    """Return AUROCs; where the best possible one is known, each one's share of it above a half."""
    best = {row.task: row.auroc - 0.5 for row in performance if row.model == "bayes"}
    lines = [
        "| task | model | cases (positive) | AUROC (95 % CI) | of Bayes | p versus fusion |",
        "|---|---|--:|--:|--:|--:|",
    ]
    for row in performance:
        p = "" if row.p_versus_fusion is None else f"{row.p_versus_fusion:.2g}"
        share = f"{(row.auroc - 0.5) / best[row.task]:.3f}" if best.get(row.task, 0) > 0 else ""
        lines.append(
            f"| {row.task} | {MODELS.get(row.model, row.model)} | {row.cases} ({row.positives}) "
            f"| {row.auroc:.3f} ({row.low:.3f} to {row.high:.3f}) | {share} | {p} |"
        )
    return "\n".join(lines) + "\n"


_CUTOFF_HEADS = ("task", "cut-off", "sensitivity", "specificity", "PPV", "NPV")
_SETS_HEADS = (
    "task",
    "sets should hold the truth of",
    "held, positives",
    "held, negatives",
    "both possible",
    "neither",
)
_DISTANCE_HEADS = ("task", "distance at most", "usual studies beyond it", "of the test set")


def _sets_line(card: Card, row: Coverage) -> str:
    sets = card.task(row.task).answers
    promised = "" if sets is None else f"{sets.coverage:.0%}"
    shares = (row.of_positives, row.of_negatives, row.unsure, row.neither)
    return f"| {row.task} | {promised} | {' | '.join(f'{share:.1%}' for share in shares)} |"


def _distance_line(task: Task) -> str:
    known = task.familiarity
    assert known is not None
    return (
        f"| {task.name} | {known.distance_max:.1f} | {known.share_beyond_expected:.1%} "
        f"| {known.share_beyond_test:.1%} |"
    )


def _cutoff_line(card: Card, row: AtCutoff) -> str:
    tp, fn = row.true_positives, row.false_negatives
    fp, tn = row.false_positives, row.true_negatives
    shares = [(tp, tp + fn), (tn, tn + fp), (tp, tp + fp), (tn, tn + fn)]
    told = " | ".join(f"{part / whole:.3f}" if whole else "-" for part, whole in shares)
    return f"| {row.task} | {card.task(row.task).cutoff:.3f} | {told} |"
