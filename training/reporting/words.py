"""How numbers are spelt in a report: one way for each kind, and what is not known is said."""

import math

from training.report import MODELS
from training.statistics.values import Difference, Interval

UNKNOWN = "not known"
KEEP = "\u00a0"
"""A space that no line ends at."""
MINUS = "\u2212"


def model_name(model: str) -> str:
    """Return what a model is called, ``PET only``; one of another's making keeps its name."""
    return MODELS.get(model, model)


def short_name(model: str) -> str:
    """Return the same without what stands in brackets."""
    return model_name(model).partition(" (")[0]


def number(value: float | None, digits: int = 3) -> str:
    """Return a number with a fixed count of decimals and a true minus, but none before a zero."""
    if value is None or math.isnan(value):
        return UNKNOWN
    if math.isinf(value):
        return "not reached"
    text = f"{value:.{digits}f}"
    return text.replace("-", "" if float(text) == 0 else MINUS)


def interval(found: Interval | Difference | None, digits: int = 3) -> str:
    """Return an estimate with its 95 % interval: ``0.890 (0.872 to 0.907)``."""
    if found is None or math.isnan(found.value):
        return UNKNOWN
    value = number(found.value, digits)
    if math.isnan(found.low) or math.isnan(found.high):
        return f"{value} (bounds{KEEP}not{KEEP}known)"
    return f"{value} ({KEEP.join([number(found.low, digits), 'to', number(found.high, digits)])})"


def p_value(p: float | None) -> str:
    """Return three decimals, or that there were none to see."""
    if p is None or math.isnan(p):
        return UNKNOWN
    return f"<{KEEP}0.001" if p < 0.001 else f"{p:.3f}"


def share(part: int, whole: int) -> str:
    """Return a count with its share: ``24 (16.0 %)``."""
    return f"{part} ({percent(part / whole, 1)})" if whole else f"{part}"


def percent(value: float, digits: int = 0) -> str:
    """Return a share in percent: ``24 %``."""
    return f"{value * 100:.{digits}f} %"


def plural(count: int, noun: str) -> str:
    """Return ``1 case`` or ``2 cases``."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def listed(names: list[str]) -> str:
    """Return ``a, b and c``."""
    return " and ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else "".join(names)
