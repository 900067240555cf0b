"""Frozen dataclasses to JSON values and back, strictly: no unknown key, no missing one, no cast."""

import dataclasses
import hashlib
import json
import math
import types
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any, TypeAlias, TypeVar, Union, get_args, get_origin, get_type_hints

T = TypeVar("T")
Kind: TypeAlias = Any  # a type as an annotation spells it: typing has no narrower name for that
ADDED = types.MappingProxyType({"added": True})
"""Metadata of a dataclass field that came after the first files were written.

``encode`` leaves it out where it holds its default: what was written before keeps its digest.
"""


class Malformed(Exception):
    """A value does not fit its type; the message names the place, as in ``tasks[1].cutoff``."""


def loads(text: str) -> object:
    """Parse JSON; NaN, infinities and a key given twice are refused with ``Malformed``."""
    try:
        value: object = json.loads(text, parse_constant=_no_constant, object_pairs_hook=_unique)
    except json.JSONDecodeError as error:
        raise Malformed(f"not JSON: {error}") from error
    return value


def canonical(value: object) -> bytes:
    """Return the one spelling of a JSON value that digests are taken of."""
    text = json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )
    return text.encode()


def digest(data: bytes) -> str:
    """Return the SHA-256 of bytes as cards, sidecars and cohorts write it."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def encode(value: object) -> object:
    """Turn dataclasses, mappings and tuples into what ``json.dumps`` takes."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {
            f.name: encode(getattr(value, f.name))
            for f in dataclasses.fields(value)
            if not ("added" in f.metadata and getattr(value, f.name) == f.default)
        }
    if isinstance(value, Mapping):
        return {str(key): encode(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [encode(item) for item in value]
    if isinstance(value, StrEnum):
        return value.value
    return value


def decode(kind: type[T], value: object, place: str = "") -> T:
    """Build the dataclass ``kind`` of a JSON object; a key with a default may be absent."""
    built = _dataclass(kind, value, place)
    assert isinstance(built, kind)
    return built


def _no_constant(name: str) -> object:
    raise Malformed(f"not JSON: {name} is no number")


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise Malformed(f"a key is given twice among {[key for key, _ in pairs]}")
    return found


def _dataclass(kind: Kind, value: object, place: str) -> object:
    if not isinstance(value, dict):
        raise Malformed(f"{place or 'the whole'} must be an object, got {_named(value)}")
    fields = {f.name: f for f in dataclasses.fields(kind)}
    unknown = sorted(set(value) - set(fields))
    if unknown:
        raise Malformed(f"unknown key {_join(place, unknown[0])}")
    hints = get_type_hints(kind)
    built = {}
    for name, field in fields.items():
        if name in value:
            built[name] = _value(hints[name], value[name], _join(place, name))
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            raise Malformed(f"missing key {_join(place, name)}")
    try:
        return kind(**built)
    except ValueError as error:
        raise Malformed(f"{place or 'the whole'}: {error}") from error


def _value(kind: Kind, value: object, place: str) -> object:
    composite = _COMPOSITES.get(get_origin(kind))
    if composite is not None:
        return composite(kind, value, place)
    if issubclass(kind, StrEnum):
        return _enum(kind, value, place)
    if dataclasses.is_dataclass(kind):
        return _dataclass(kind, value, place)
    return _scalar(kind, value, place)


def _scalar(kind: type, value: object, place: str) -> object:
    if kind is float and type(value) is int:
        return float(value)
    if type(value) is not kind:  # a bool is an int to isinstance
        raise Malformed(f"{place} must be {kind.__name__}, got {_named(value)}")
    if isinstance(value, float) and not math.isfinite(value):
        raise Malformed(f"{place} must be finite")
    return value


def _enum(kind: type[StrEnum], value: object, place: str) -> StrEnum:
    try:
        return kind(str(value))
    except ValueError as error:
        raise Malformed(f"{place} must be one of {[m.value for m in kind]}") from error


def _tuple(kind: Kind, value: object, place: str) -> tuple[object, ...]:
    if not isinstance(value, list):
        raise Malformed(f"{place} must be a list, got {_named(value)}")
    kinds = get_args(kind)
    if kinds[-1] is Ellipsis:
        kinds = (kinds[0],) * len(value)
    if len(kinds) != len(value):
        raise Malformed(f"{place} must have {len(kinds)} items, got {len(value)}")
    return tuple(
        _value(k, item, f"{place}[{i}]")
        for i, (k, item) in enumerate(zip(kinds, value, strict=True))
    )


def _mapping(kind: Kind, value: object, place: str) -> dict[str, object]:
    if not isinstance(value, dict):
        raise Malformed(f"{place} must be an object, got {_named(value)}")
    _, item_kind = get_args(kind)
    return {key: _value(item_kind, item, _join(place, key)) for key, item in value.items()}


def _union(kind: Kind, value: object, place: str) -> object:
    """Only ``X | None`` occurs."""
    if value is None:
        return None
    (some,) = (k for k in get_args(kind) if k is not type(None))
    return _value(some, value, place)


_COMPOSITES: dict[object, Callable[[Kind, object, str], object]] = {
    tuple: _tuple,
    Mapping: _mapping,
    types.UnionType: _union,
    Union: _union,
}


def _join(place: str, key: str) -> str:
    return f"{place}.{key}" if place else key


def _named(value: object) -> str:
    return "null" if value is None else type(value).__name__
