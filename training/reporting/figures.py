"""Draws with matplotlib as SVG: one style, and the same bytes for the same numbers."""

import io
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import matplotlib.style
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from training.reporting.page import Picture

STYLE = {
    "svg.hashsalt": "petct-train report",
    "svg.fonttype": "none",  # letters stay letters: small, and found by a search
    "text.parse_math": False,  # a dollar in a name is no formula
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 8.5,
    "axes.titlesize": 9,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "axes.edgecolor": "#444444",
    "axes.grid": True,
    "grid.color": "#e4e7ea",
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "lines.linewidth": 1.2,
    "legend.framealpha": 0.85,
    "legend.edgecolor": "none",
    "legend.fontsize": 7.5,
    "path.simplify": True,
}
INK = "#222222"
FAINT = "#9aa0a6"
SVG = "image/svg+xml"
SIDE = (4.3, 3.7)
"""Inches of a figure that shares its row with another."""


@dataclass(frozen=True, kw_only=True)
class Line:
    """How a model is drawn: told apart by dashes as well as by colour."""

    color: str
    dashes: str | tuple[int, tuple[float, ...]]
    width: float = 1.2


LINES = {
    "fusion": Line(color="#0b4f8a", dashes="-", width=2.0),
    "pet": Line(color="#d55e00", dashes="--"),
    "ct": Line(color="#00806a", dashes="-."),
    "clinical": Line(color="#7a5195", dashes=":", width=1.6),
    "bayes": Line(color="#555555", dashes=(0, (1, 1))),
    "early": Line(color="#b0822b", dashes=(0, (5, 1))),
    "late": Line(color="#cc79a7", dashes=(0, (3, 1, 1, 1, 1, 1))),
}
OTHERS = ("#56b4e9", "#8c564b", "#7f7f7f", "#bcbd22", "#17becf")


def line_of(model: str, models: Sequence[str]) -> Line:
    """Return how a model is drawn, the same in every figure of a page."""
    if model in LINES:
        return LINES[model]
    place = [name for name in models if name not in LINES].index(model)
    return Line(color=OTHERS[place % len(OTHERS)], dashes=(0, (2 + place, 1)))


def drawn(
    paint: Callable[[Figure], None],
    *,
    alt: str,
    caption: str,
    size: tuple[float, float] = SIDE,
    wide: bool = False,
) -> Picture:
    """Return what ``paint`` puts on a figure of ``size`` inches."""
    with matplotlib.style.context(["default", STYLE]), warnings.catch_warnings():
        # Who looks at the page has letters of other scripts, whether or not this machine has.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        figure = Figure(figsize=size, layout="constrained")
        paint(figure)
        data = io.BytesIO()
        figure.savefig(data, format="svg", metadata={"Date": None, "Creator": None})
    return Picture(data=data.getvalue(), mime=SVG, alt=alt, caption=caption, wide=wide)


def unit_axes(axes: Axes, *, across: str, up: str) -> None:
    """Make both axes go from 0 to 1, with room for lines at the ends."""
    axes.set(xlim=(-0.015, 1.015), ylim=(-0.015, 1.015), xlabel=across, ylabel=up)
    axes.set_aspect("equal", adjustable="box")
