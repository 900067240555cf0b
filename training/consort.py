"""Who was assessed, who was left out at which screen and why, and who serves for what."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from training.labels import NodalClass
from training.partition import Part
from training.patients import PatientCohort

CENTRE_HEADS = ("centre", "part", "patients", *NodalClass)


@dataclass(frozen=True, kw_only=True)
class Screen:
    """One screen: how many came to it, and how many did not pass, by reason."""

    step: str
    came: int
    left: tuple[tuple[str, int], ...]
    """The most frequent reason first."""

    @property
    def passed(self) -> int:
        """How many went on."""
        return self.came - sum(count for _, count in self.left)


def screens(cohort: PatientCohort, steps: Sequence[str]) -> tuple[Screen, ...]:
    """Return the screens in their order; the last lets through the members and nobody else."""
    came = len(cohort.members) + len(cohort.left_out)
    found = []
    for step in steps:
        reasons = Counter(one.why for one in cohort.left_out if one.step == step)
        ranked = sorted(reasons.items(), key=lambda item: (-item[1], item[0]))
        screen = Screen(step=step, came=came, left=tuple(ranked))
        found.append(screen)
        came = screen.passed
    if came != len(cohort.members):
        raise ValueError(f"{came} patients pass the screens, but {len(cohort.members)} are members")
    return tuple(found)


def flow_table(cohort: PatientCohort, steps: Sequence[str]) -> str:
    """Return the flow of patients as a Markdown list, numbers first."""
    found = screens(cohort, steps)
    lines = [f"* {found[0].came} patients assessed"]
    for screen in found:
        lines.append(f"* {screen.came - screen.passed} left out: {screen.step}")
        lines += [f"  * {count} {why}" for why, count in screen.left]
    lines.append(f"* **{len(cohort.members)} patients in the cohort**")
    for part in Part:
        members = cohort.of(part)
        classes = Counter(one.nodal for one in members)
        told = ", ".join(f"{classes[nodal]} {nodal}" for nodal in NodalClass)
        lines.append(f"  * {len(members)} {part} ({told})")
    return "\n".join(lines) + "\n"


def centre_table(cohort: PatientCohort) -> str:
    """Return the labels by centre and part as a Markdown table."""
    lines = [f"| {' | '.join(CENTRE_HEADS)} |", "|---|---|--:|--:|--:|--:|"]
    lines += [f"| {' | '.join(row)} |" for row in centre_rows(cohort)]
    return "\n".join(lines) + "\n"


def centre_rows(cohort: PatientCohort) -> tuple[tuple[str, ...], ...]:
    """Return how many patients of each class every centre gave to every part."""
    counts = Counter((one.centre, one.part, one.nodal) for one in cohort.members)
    places = sorted({(centre, part) for centre, part, _ in counts}, key=_by_centre)
    rows = []
    for centre, part in places:
        each = [counts[centre, part, nodal] for nodal in NodalClass]
        rows.append((centre or "not stated", part.value, *map(str, (sum(each), *each))))
    return tuple(rows)


def _by_centre(place: tuple[str, Part]) -> tuple[str, int]:
    return place[0], list(Part).index(place[1])
