"""What a report is made of, and how it becomes one HTML page without a link to anything outside."""

import base64
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import ClassVar, TypeAlias

from jinja2 import Environment, PackageLoader, StrictUndefined


@dataclass(frozen=True, kw_only=True)
class Paragraph:
    """A paragraph of plain text; ``important`` ones stand in a frame."""

    kind: ClassVar[str] = "paragraph"
    text: str
    important: bool = False


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A figure; ``alt`` tells what is to be seen for who cannot see it."""

    kind: ClassVar[str] = "figure"
    data: bytes
    mime: str
    alt: str
    caption: str
    wide: bool = False

    @property
    def uri(self) -> str:
        """The picture itself as an address."""
        return f"data:{self.mime};base64,{base64.b64encode(self.data).decode()}"


@dataclass(frozen=True, kw_only=True)
class Link:
    """A table's cell that leads to sections of this page, and says something beside."""

    anchors: tuple[str, ...]
    text: str


Cell: TypeAlias = str | Picture | Link


@dataclass(frozen=True, kw_only=True)
class Tabular:
    """A table; the first cell of each row is the row's heading."""

    kind: ClassVar[str] = "table"
    caption: str
    heads: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    note: str = ""
    words: bool = False
    """Whether all cells hold words, to be read from the left."""

    def __post_init__(self) -> None:
        if any(len(row) != len(self.heads) for row in self.rows):
            raise ValueError(f"a row of {self.caption!r} does not match its heads")


@dataclass(frozen=True, kw_only=True)
class Flow:
    """Steps below each other, each with what leaves there."""

    kind: ClassVar[str] = "flow"
    steps: tuple[tuple[str, tuple[str, ...]], ...]


@dataclass(frozen=True, kw_only=True)
class Pair:
    """Two figures beside each other where there is room."""

    kind: ClassVar[str] = "pair"
    pictures: tuple[Picture, ...]


Block: TypeAlias = Paragraph | Tabular | Picture | Pair | Flow


@dataclass(frozen=True, kw_only=True)
class Section:
    """A part of the page; ``anchor`` is where links lead to."""

    anchor: str
    title: str
    blocks: tuple[Block, ...] = ()
    parts: tuple["Section", ...] = ()


@dataclass(frozen=True, kw_only=True)
class Page:
    """The whole report."""

    title: str
    lead: str
    sections: tuple[Section, ...]
    colophon: str

    def __post_init__(self) -> None:
        anchors = list(self.anchors())
        twice = sorted({name for name in anchors if anchors.count(name) > 1})
        if twice:
            raise ValueError(f"the anchor {twice[0]!r} is there twice")

    def anchors(self) -> Iterator[str]:
        """Yield where links may lead to."""
        yield from _anchors(self.sections)

    def titles(self) -> dict[str, str]:
        """Return the title of each section by its anchor."""
        return dict(_titles(self.sections))


def html(page: Page) -> str:
    """Return the page as HTML: style and pictures inside, all text escaped, no script."""
    environment = Environment(
        loader=PackageLoader("training.reporting"),
        autoescape=True,
        finalize=_held_together,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    style = resources.files("training.reporting").joinpath("templates", "style.css")
    return environment.get_template("page.html.jinja").render(
        page=page,
        titles=page.titles(),
        style=style.read_text(encoding="utf-8"),
    )


def _held_together(value: object) -> object:
    """Keep a number and its percent sign on one line."""
    return value.replace(" %", "\u00a0%") if isinstance(value, str) else value


def _anchors(sections: Sequence[Section]) -> Iterator[str]:
    for section in sections:
        yield section.anchor
        yield from _anchors(section.parts)


def _titles(sections: Sequence[Section], above: str = "") -> Iterator[tuple[str, str]]:
    for section in sections:
        yield section.anchor, above + section.title
        yield from _titles(section.parts, f"{section.title}: ")
