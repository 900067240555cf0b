"""Reporting guidelines, item by item, each with the place of this page that answers it."""

from dataclasses import dataclass
from importlib import resources

import yaml

from inference.codec import decode
from training.reporting.answers import Run
from training.reporting.page import Link, Paragraph, Section, Tabular


@dataclass(frozen=True, kw_only=True)
class Item:
    """One item; ``asks`` and what is said are our words, not those of the guideline."""

    item: str
    asks: str
    where: tuple[str, ...] = ()
    """Anchors; ``task:NAME`` is that part of each task's section."""
    says: str = ""
    phantoms: str = ""
    """What is said instead where the cases are phantoms."""
    evaluated: str = ""
    """What is said instead where a bundle is evaluated on patients of others."""


@dataclass(frozen=True, kw_only=True)
class Checklist:
    """A guideline with its reference."""

    anchor: str
    title: str
    reference: str
    items: tuple[Item, ...]


@dataclass(frozen=True, kw_only=True)
class _File:
    checklists: tuple[Checklist, ...]


def load() -> tuple[Checklist, ...]:
    """Return the guidelines that a report answers."""
    path = resources.files("training.reporting").joinpath("checklists.yaml")
    return decode(_File, yaml.safe_load(path.read_text(encoding="utf-8"))).checklists


def checklists(run: Run) -> tuple[Section, ...]:
    """Return a section for each guideline."""
    return tuple(_section(one, run) for one in load())


def _section(one: Checklist, run: Run) -> Section:
    rows = tuple((item.item, item.asks, _answer(item, run)) for item in one.items)
    return Section(
        anchor=one.anchor,
        title=one.title,
        blocks=(
            Paragraph(
                text=f"{one.reference} What an item asks is told here in short and in other words; "
                "the guideline itself is what counts."
            ),
            Tabular(
                caption=f"Where the items of {one.title} are answered.",
                heads=("item", "asks for", "answered in"),
                rows=rows,
                words=True,
            ),
        ),
    )


def _answer(item: Item, run: Run) -> Link:
    says = (run.on_phantoms and item.phantoms) or (not run.own and item.evaluated) or item.says
    anchors: list[str] = []
    for place in item.where:
        group, _, name = place.partition(":")
        if name:
            anchors += [f"{group}-{number}-{name}" for number in range(1, len(run.tasks) + 1)]
        else:
            anchors.append(place)
    return Link(anchors=tuple(anchors), text=says)
