"""Dates and times of DICOM (VR DA, TM, DT) as local date-times without a zone."""

import re
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from functools import lru_cache

from node.dicom.attributes import Attributes, text

UNDATED = date(2000, 1, 1)
"""Stands for a date that was removed: only differences of times are ever taken."""
_DAY = timedelta(days=1)
_TIME = re.compile(r"(\d{2}):?(\d{2})?:?(\d{2})?(?:\.(\d{1,6}))?\d*", re.ASCII)
_DATE = re.compile(r"(\d{4})[.\-/]?(\d{2})[.\-/]?(\d{2})", re.ASCII)
_ZONE = re.compile(r"([+-])(\d{2})(\d{2})$", re.ASCII)


@lru_cache(maxsize=256)  # the planes of a series share theirs
def parse_date(written: str) -> date | None:
    """Parse a DA, or None."""
    match = _DATE.fullmatch(written.strip())
    if match is None:
        return None
    year, month, day = (int(part) for part in match.groups())
    try:
        return date(year, month, day)
    except ValueError:
        return None


@lru_cache(maxsize=256)
def parse_time(written: str) -> timedelta | None:
    """Parse a TM as time since midnight, or None."""
    match = _TIME.fullmatch(written.strip())
    if match is None:
        return None
    hours, minutes, seconds = (int(part or 0) for part in match.groups()[:3])
    if hours > 23 or minutes > 59 or seconds > 60:
        return None
    micros = int((match.group(4) or "0").ljust(6, "0"))
    return timedelta(hours=hours, minutes=minutes, seconds=seconds, microseconds=micros)


def parse_datetime(written: str, *, zone: str = "") -> datetime | None:
    """Parse a DT that holds a time of day, or None.

    Where both the DT and ``zone`` (Timezone Offset From UTC) name an offset, the result is in the
    latter, as all other dates and times of the instance are.
    """
    written = written.strip()
    offset = _ZONE.search(written)
    digits = written[: offset.start()] if offset else written
    day, time = parse_date(digits[:8]), parse_time(digits[8:])
    if day is None or time is None:
        return None
    moment = _at(day, time)
    local = _ZONE.fullmatch(zone.strip())
    if offset and local:
        moment += _offset(local) - _offset(offset)
    return moment


def moment_of(header: Attributes, name: str, *, dates: Sequence[str] = ()) -> datetime | None:
    """Return ``<name>Date`` and ``<name>Time`` together, or None where there is no time.

    An absent date is taken from the first of ``dates`` that is there, else it is ``UNDATED``.
    """
    time = parse_time(text(header, f"{name}Time"))
    if time is None:
        return None
    known = (parse_date(text(header, keyword)) for keyword in (f"{name}Date", *dates))
    return _at(next((day for day in known if day is not None), UNDATED), time)


def nearest(moment: datetime, anchor: datetime) -> datetime:
    """Shift a date-time by whole days to within 12 hours of ``anchor``."""
    return moment + round((anchor - moment) / _DAY) * _DAY


def before(moment: datetime, anchor: datetime) -> datetime:
    """Shift a date-time by whole days into the 24 hours that end at ``anchor``."""
    return moment + ((anchor - moment) // _DAY) * _DAY


def _at(day: date, time: timedelta) -> datetime:
    return datetime(day.year, day.month, day.day) + time  # noqa: DTZ001  (DICOM's local time)


def _offset(match: re.Match[str]) -> timedelta:
    sign, hours, minutes = match.groups()
    size = timedelta(hours=int(hours), minutes=int(minutes))
    return size if sign == "+" else -size
