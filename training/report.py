"""Tables of what a bundle is worth, in Markdown, for the shell and for documents."""

from inference.card import AtCutoff, Card

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
    """Return AUROCs and, where the card has them, what the cut-offs do, one table each."""
    lines = [
        "| task | model | cases (positive) | AUROC (95 % CI) | p versus fusion |",
        "|---|---|--:|--:|--:|",
    ]
    for row in card.performance:
        p = "" if row.p_versus_fusion is None else f"{row.p_versus_fusion:.2g}"
        lines.append(
            f"| {row.task} | {MODELS.get(row.model, row.model)} | {row.cases} ({row.positives}) "
            f"| {row.auroc:.3f} ({row.low:.3f} to {row.high:.3f}) | {p} |"
        )
    if card.at_cutoff:
        lines += [
            "",
            "| task | cut-off | sensitivity | specificity | PPV | NPV |",
            "|---|--:|--:|--:|--:|--:|",
            *(_cutoff_line(card, row) for row in card.at_cutoff),
        ]
    return "\n".join(lines) + "\n"


def _cutoff_line(card: Card, row: AtCutoff) -> str:
    tp, fn = row.true_positives, row.false_negatives
    fp, tn = row.false_positives, row.true_negatives
    shares = [(tp, tp + fn), (tn, tn + fp), (tp, tp + fp), (tn, tn + fn)]
    told = " | ".join(f"{part / whole:.3f}" if whole else "-" for part, whole in shares)
    return f"| {row.task} | {card.task(row.task).cutoff:.3f} | {told} |"
