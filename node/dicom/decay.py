"""To which moment a PET's activity is decay-corrected."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from statistics import median

from inference.findings import Reason
from node.dicom.reasons import unusable, warning

TOLERANCE_S = 60.0
"""Clocks and roundings differ by less; it decides which reference is meant, not its time."""

_CLOCKS_AGREE_S = 5.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Timing:
    """The clock of one plane; None where the header is silent."""

    series: datetime | None
    acquisition: datetime | None
    """When the frame began."""
    frame_duration_s: float | None = None
    frame_reference_s: float | None = None
    """From the series reference to when the activity was as stated (PS3.3 C.8.9.4)."""
    decay_factor: float | None = None
    """By how much the stored activity was multiplied (PS3.3 C.8.9.4)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Reference:
    """The moment each plane is corrected to, and what it is called."""

    kind: str
    moments: tuple[datetime, ...]
    warnings: tuple[Reason, ...] = ()


def average_s(duration_s: float, half_life_s: float) -> float:
    """Return when, after a frame began, the activity had its average over the frame."""
    decay = math.log(2) / half_life_s
    if decay * duration_s < 1e-6:
        return duration_s / 2
    return math.log(decay * duration_s / -math.expm1(-decay * duration_s)) / decay


def start_reference(timings: Sequence[Timing], half_life_s: float) -> Reference:
    """Find the reference of a series whose Decay Correction is START.

    By the standard it is the Series Time (PS3.3 C.8.9.1), but some devices correct each plane
    to its own Acquisition Time, and a copy of a series may carry the time of the copy. In order:

    1. Decay Factor tells by how much each plane was corrected, hence to when. The series time,
       each plane's acquisition time or the first acquisition time is taken, whichever agrees; a
       moment that is neither but the same for all planes is taken as it is. Where series and
       acquisition time are one and the same, they are taken, with a warning.
    2. Else a series time no later than the first acquisition is taken.
    3. Else Frame Reference Time, counted back from the acquisition, if it is the same moment for
       all planes; where it is absent or zero, the first acquisition.

    Anything else is refused.
    """
    told = _told_by_decay_factor(timings, half_life_s)
    if told is not None:
        return _explained(timings, told)
    counted = _told_by_frame_reference(timings, half_life_s)
    series = timings[0].series
    first = _first_acquisition(timings)
    if series is not None and (first is None or series <= first + timedelta(seconds=1)):
        return _series(timings, series, counted)
    if first is None:
        raise unusable("SUV_DECAY", "neither series nor acquisition time is there")
    warnings = (warning("DECAY_REFERENCE", "the series is later than its acquisition"),)
    if counted is None:
        return _same("FIRST_ACQUISITION", first, timings, warnings)
    if _spread_s(counted) > TOLERANCE_S:
        raise unusable("SUV_DECAY", "Frame Reference Time contradicts itself")
    return _same("FRAME_REFERENCE_TIME", _middle(counted), timings, warnings)


def frame_average(timings: Sequence[Timing], half_life_s: float) -> Reference:
    """Return the reference of a series that is not decay-corrected: each frame's own average."""
    moments = [_average_moment(timing, half_life_s) for timing in timings]
    known = tuple(moment for moment in moments if moment is not None)
    if len(known) != len(timings):
        raise unusable("SUV_DECAY", "not decay-corrected, and frame times are absent")
    return Reference(kind="FRAME_AVERAGE", moments=known)


def _explained(timings: Sequence[Timing], told: Sequence[datetime]) -> Reference:
    """Choose the stated time that the told moments agree with best."""
    first = _first_acquisition(timings)
    candidates = {
        "SERIES_TIME": [timing.series for timing in timings],
        "FIRST_ACQUISITION": [first] * len(timings),
        "ACQUISITION_TIME": [timing.acquisition for timing in timings],
    }
    misfits = {kind: _misfit_s(moments, told) for kind, moments in candidates.items()}
    kind = min(misfits, key=lambda k: misfits[k])
    if misfits["SERIES_TIME"] <= misfits[kind] + _CLOCKS_AGREE_S:
        kind = "SERIES_TIME"
    durations = [timing.frame_duration_s or 0 for timing in timings]
    if misfits[kind] <= max(TOLERANCE_S, *durations):
        moments = tuple(moment for moment in candidates[kind] if moment is not None)
        notes = () if kind == "SERIES_TIME" else (warning("DECAY_REFERENCE", kind),)
        return Reference(kind=kind, moments=moments, warnings=notes)
    return _unexplained(timings, told, alike=_coincide(timings))


def _unexplained(timings: Sequence[Timing], told: Sequence[datetime], *, alike: bool) -> Reference:
    """Return the reference of a series whose stated times Decay Factor contradicts.

    Some devices write the series time as every plane's acquisition time; Decay Factor, counted
    from the acquisition, then tells nothing.
    """
    series = timings[0].series
    if alike and series is not None:
        return _series(timings, series, told)
    if _spread_s(told) > TOLERANCE_S:
        raise unusable("SUV_DECAY", "Decay Factor agrees with no time of the series")
    notes = (warning("DECAY_REFERENCE", "told by Decay Factor"),)
    return _same("DECAY_FACTOR", _middle(told), timings, notes)


def _coincide(timings: Sequence[Timing]) -> bool:
    stated = [(timing.series, timing.acquisition) for timing in timings]
    return all(
        a is not None and b is not None and abs((a - b).total_seconds()) <= TOLERANCE_S
        for a, b in stated
    )


def _series(
    timings: Sequence[Timing], series: datetime, counted: Sequence[datetime] | None
) -> Reference:
    off_s = 0.0 if counted is None else _misfit_s([series] * len(counted), counted)
    durations = [timing.frame_duration_s or 0 for timing in timings]
    unsure = off_s > max(TOLERANCE_S, *durations)
    notes = (warning("DECAY_UNSURE", f"by {off_s:.0f} s"),) if unsure else ()
    return _same("SERIES_TIME", series, timings, notes)


def _told_by_decay_factor(
    timings: Sequence[Timing], half_life_s: float
) -> tuple[datetime, ...] | None:
    """Return the moments that Decay Factor implies; None unless every plane has one above 1."""
    moments = []
    for timing in timings:
        average = _average_moment(timing, half_life_s)
        if average is None or timing.decay_factor is None or timing.decay_factor <= 1:
            return None
        moments.append(average - timedelta(seconds=half_life_s * math.log2(timing.decay_factor)))
    return tuple(moments)


def _told_by_frame_reference(
    timings: Sequence[Timing], half_life_s: float
) -> tuple[datetime, ...] | None:
    """Return the moments that Frame Reference Time implies; zero stands for unknown."""
    moments = []
    for timing in timings:
        average = _average_moment(timing, half_life_s)
        if average is None or not timing.frame_reference_s:
            return None
        moments.append(average - timedelta(seconds=timing.frame_reference_s))
    return tuple(moments)


def _average_moment(timing: Timing, half_life_s: float) -> datetime | None:
    if timing.acquisition is None or timing.frame_duration_s is None:
        return None
    return timing.acquisition + timedelta(seconds=average_s(timing.frame_duration_s, half_life_s))


def _first_acquisition(timings: Sequence[Timing]) -> datetime | None:
    return min((t.acquisition for t in timings if t.acquisition is not None), default=None)


def _misfit_s(stated: Sequence[datetime | None], told: Sequence[datetime]) -> float:
    worst = 0.0
    for moment, other in zip(stated, told, strict=True):
        if moment is None:
            return math.inf
        worst = max(worst, abs((moment - other).total_seconds()))
    return worst


def _spread_s(moments: Sequence[datetime]) -> float:
    return (max(moments) - min(moments)).total_seconds()


def _middle(moments: Sequence[datetime]) -> datetime:
    start = min(moments)
    return start + timedelta(seconds=median((m - start).total_seconds() for m in moments))


def _same(
    kind: str, moment: datetime, timings: Sequence[Timing], warnings: tuple[Reason, ...]
) -> Reference:
    return Reference(kind=kind, moments=(moment,) * len(timings), warnings=warnings)
