from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference.codec import Malformed, canonical, decode, encode, loads


class Colour(StrEnum):
    RED = "red"


@dataclass(frozen=True, kw_only=True)
class Inner:
    sizes: tuple[float, float]
    colour: Colour = Colour.RED


@dataclass(frozen=True, kw_only=True)
class Outer:
    name: str
    count: int
    flag: bool
    inners: tuple[Inner, ...]
    digests: Mapping[str, str]
    age: float | None = None


GOOD = {
    "name": "a",
    "count": 1,
    "flag": True,
    "inners": [{"sizes": [1, 2.5]}],
    "digests": {"f": "d"},
}


def test_a_whole_number_passes_for_a_float_and_becomes_one():
    outer = decode(Outer, GOOD)

    assert outer.inners[0].sizes == (1.0, 2.5)
    assert isinstance(outer.inners[0].sizes[0], float)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"extra": 1}, "unknown key extra"),
        ({"inners": [{"sizes": [1, 2], "size": 1}]}, "unknown key inners[0].size"),
        ({"inners": [{}]}, "missing key inners[0].sizes"),
        ({"inners": [{"sizes": [1]}]}, "inners[0].sizes must have 2 items, got 1"),
        ({"inners": [{"sizes": [1, "2"]}]}, "inners[0].sizes[1] must be float, got str"),
        ({"inners": [{"sizes": [1, 2], "colour": "blue"}]}, "inners[0].colour must be one of"),
        ({"inners": {}}, "inners must be a list, got dict"),
        ({"count": True}, "count must be int, got bool"),
        ({"count": 1.0}, "count must be int, got float"),
        ({"flag": 1}, "flag must be bool, got int"),
        ({"name": None}, "name must be str, got null"),
        ({"digests": {"f": 1}}, "digests.f must be str, got int"),
        ({"digests": []}, "digests must be an object, got list"),
        ({"age": float("inf")}, "age must be finite"),
    ],
)
def test_what_does_not_fit_is_named_by_its_place(change, told):
    with pytest.raises(Malformed) as raised:
        decode(Outer, GOOD | change)

    assert told in str(raised.value)


@pytest.mark.parametrize(
    ("text", "told"),
    [('{"a": NaN}', "NaN"), ('{"a": 1, "a": 2}', "twice"), ("{", "not JSON"), ("", "not JSON")],
)
def test_json_is_refused_that_another_reader_may_read_otherwise(text, told):
    with pytest.raises(Malformed, match=told):
        loads(text)


@given(
    name=st.text(),
    count=st.integers(),
    sizes=st.tuples(
        st.floats(allow_nan=False, allow_infinity=False),
        st.floats(allow_nan=False, allow_infinity=False),
    ),
    age=st.none() | st.floats(0, 120),
)
def test_a_value_survives_json(name, count, sizes, age):
    outer = Outer(
        name=name, count=count, flag=False, inners=(Inner(sizes=sizes),), digests={}, age=age
    )
    try:
        text = canonical(encode(outer)).decode()
    except UnicodeEncodeError:  # a lone surrogate is no text
        return

    assert decode(Outer, loads(text)) == outer
