"""Draws how costs grow, on logarithmic axes, beside what grows linearly."""

import statistics
from collections.abc import Sequence
from io import StringIO

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullLocator

from tests.bench.growth import Growth

PANEL_INCHES = (3.4, 3.0)
OURS_COLOUR, LINEAR_COLOUR = "#1f5f99", "#888888"
TEXT_AS_TEXT = {"svg.fonttype": "none", "svg.hashsalt": "petct-node", "font.size": 8}


def growth_plot(growths: Sequence[Growth]) -> str:
    """Return a picture (SVG): CPU time over size, a panel for each case.

    Dots are rounds, the line goes through their medians, the dashed one is linear from the first.
    """
    wide, high = PANEL_INCHES
    with rc_context(TEXT_AS_TEXT):
        figure = Figure(figsize=(wide * len(growths), high), layout="constrained")
        panels = figure.subplots(1, len(growths), squeeze=False)[0]
        for axes, growth in zip(panels, growths, strict=True):
            _panel(axes, growth)
        drawn = StringIO()
        figure.savefig(drawn, format="svg", metadata={"Date": None})
    return drawn.getvalue()


def _panel(axes: Axes, growth: Growth) -> None:
    sizes = growth.sizes
    medians = [statistics.median(its) for its in zip(*growth.costs, strict=True)]
    linear = [medians[0] * size / sizes[0] for size in sizes]
    axes.loglog(sizes, linear, "--", color=LINEAR_COLOUR, label="linear")
    for costs in growth.costs:
        axes.loglog(sizes, costs, ".", color=OURS_COLOUR, markersize=3)
    axes.loglog(sizes, medians, color=OURS_COLOUR, label=f"exponent {growth.exponent:.2f}")
    what, _, by = growth.case.partition(", ")
    axes.set_title(what)
    axes.set_xlabel(by)
    axes.set_ylabel("CPU time, ms")
    plain = FuncFormatter(lambda value, _: f"{value:g}")
    axes.xaxis.set_major_formatter(plain)
    axes.set_xticks(sizes)
    axes.xaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(plain)
    axes.yaxis.set_minor_formatter(plain)
    axes.legend(frameon=False)
