"""Words on a picture: set in one typeface, broken at blanks, never beyond their box."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from io import BytesIO
from typing import Any, Final, Literal, TypeAlias

from PIL import Image, ImageDraw, ImageFont
from typing_extensions import override

from node.dicom.capture.colours import INK, PAPER, Ink

Font: TypeAlias = ImageFont.FreeTypeFont | ImageFont.ImageFont
Line: TypeAlias = tuple[str, Ink]
Anchor: TypeAlias = Literal["lt", "mt", "rt", "lm", "mm", "rm", "lb", "mb", "rb"]

SMALL: Final = 15
NORMAL: Final = 17
_LEADING: Final = 1.28


@dataclass(frozen=True, kw_only=True)
class Box:
    """A rectangle of the picture: its upper left pixel and its size."""

    x: int
    y: int
    width: int
    height: int

    @property
    def right(self) -> int:
        """The first column beyond it."""
        return self.x + self.width

    @property
    def bottom(self) -> int:
        """The first row below it."""
        return self.y + self.height


class _Kept(ImageFont.FreeTypeFont):
    """A typeface that keeps words as it has set them: most stand on every picture."""

    @override
    def getmask2(self, *words: Any, **how: Any) -> tuple[Any, tuple[int, int]]:
        return _set(super().getmask2, words, tuple(how.items()))


@lru_cache(maxsize=1024)
def _set(
    setter: Callable[..., tuple[Any, tuple[int, int]]],
    words: tuple[Any, ...],
    how: tuple[tuple[str, Any], ...],
) -> tuple[Any, tuple[int, int]]:
    return setter(*words, **dict(how))


@cache
def font(size: int) -> Font:
    """Return the typeface that comes with Pillow, the same on every machine."""
    typeface = ImageFont.load_default(size)
    if not isinstance(typeface, ImageFont.FreeTypeFont):  # as Pillow is without FreeType
        return typeface
    return _Kept(BytesIO(typeface.font_bytes), size, layout_engine=typeface.layout_engine)


def write(
    canvas: Image.Image,
    place: tuple[int, int],
    words: str,
    *,
    ink: Ink = INK,
    size: int = SMALL,
    anchor: Anchor = "lt",
) -> None:
    """Write one line with a dark edge, legible on any image; ``anchor`` is Pillow's."""
    draw = ImageDraw.Draw(canvas)
    draw.text(place, words, ink, font(size), anchor=anchor, stroke_width=2, stroke_fill=PAPER)


def write_upwards(canvas: Image.Image, box: Box, words: str, *, ink: Ink, size: int) -> None:
    """Write one line that reads from below to above, in the middle of the box."""
    strip = Image.new("L", (box.height, box.width))
    place = (box.height // 2, box.width // 2)
    ImageDraw.Draw(strip).text(place, words, 255, font(size), anchor="mm")
    canvas.paste(ink, (box.x, box.y), strip.rotate(90, expand=True))


def write_lines(
    canvas: Image.Image, box: Box, lines: Sequence[Line], *, size: int = NORMAL
) -> None:
    """Write lines below each other, each broken to the width of the box.

    What does not fit its height is left out, and dots say so.
    """
    draw = ImageDraw.Draw(canvas)
    parts = [(part, ink) for line, ink in lines for part in broken(line, size, box.width)]
    height = round(size * _LEADING)
    room = box.height // height
    if len(parts) > room:
        parts = [*parts[: max(room - 1, 0)], ("...", INK)]
    for number, (part, ink) in enumerate(parts):
        draw.text((box.x, box.y + number * height), part, ink, font(size))


def broken(line: str, size: int, width: int) -> list[str]:
    """Return the line in parts that fit ``width`` pixels; a longer word is cut to fit."""
    parts = [""]
    for word in line.split(" "):
        longer = f"{parts[-1]} {word}".strip()
        if font(size).getlength(longer) <= width:
            parts[-1] = longer
            continue
        rest = word if parts[-1] else longer
        parts = parts if parts[-1] else parts[:-1]
        pieces = _pieces(rest, size, width)
        parts += pieces
    return parts


def _pieces(word: str, size: int, width: int) -> list[str]:
    """Return a word in pieces of at most ``width`` pixels, one letter at least in each."""
    pieces = [word[:1]]
    for letter in word[1:]:
        if font(size).getlength(pieces[-1] + letter) <= width:
            pieces[-1] += letter
        else:
            pieces.append(letter)
    return pieces
