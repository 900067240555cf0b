import random
from collections import Counter
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from node.backoff import Backoff

NOW = datetime(2026, 1, 2, 12, tzinfo=UTC)
FAILURES = st.integers(min_value=1, max_value=10_000)
SHARES = st.floats(min_value=0, max_value=1, exclude_max=True)


def backoff(*, chance=lambda: 0.0):
    return Backoff(first=timedelta(seconds=5), longest=timedelta(seconds=600), chance=chance)


def pause(failures, share):
    return backoff(chance=lambda: share).drawn(NOW)(failures) - NOW


def test_the_pauses_double_up_to_the_longest_and_never_end():
    """5, 10, 20, ... 320, 600, 600 s."""
    pauses = [pause(failures, 0.0).total_seconds() for failures in range(1, 10)]

    assert pauses == [5, 10, 20, 40, 80, 160, 320, 600, 600]
    assert pause(10_000, 0.0) == timedelta(seconds=600)


def test_half_of_the_chance_takes_a_quarter_of_the_pause():
    assert pause(3, 0.5) == timedelta(seconds=15)


@given(failures=FAILURES, share=SHARES)
def test_chance_takes_at_most_half_of_a_pause(failures, share):
    longest = backoff().after(failures)

    assert longest / 2 <= pause(failures, share) <= longest


@given(failures=FAILURES, share=SHARES)
def test_a_pause_is_never_shorter_than_after_fewer_failures(failures, share):
    assert pause(failures, share) <= pause(failures + 1, share)


@given(share=SHARES)
def test_what_has_not_failed_is_due_at_once(share):
    assert pause(0, share) == pause(-1, share) == timedelta()


@given(failures=FAILURES, seed=st.integers(min_value=0, max_value=2**32))
def test_what_failed_in_one_call_is_due_at_one_moment(failures, seed):
    due_at = backoff(chance=random.Random(seed).random).drawn(NOW)

    assert len({due_at(failures) for _ in range(50)}) == 1


@given(seed=st.integers(min_value=0, max_value=2**32))
def test_fifty_that_failed_at_one_moment_do_not_come_back_at_one_moment(seed):
    """300 s in 10 spans of 30 s: 5 calls in each are expected, 50 would come without chance."""
    late = backoff(chance=random.Random(seed).random)

    spans = Counter((late.drawn(NOW)(8) - NOW) // timedelta(seconds=30) for _ in range(50))

    assert len(spans) >= 5
    assert max(spans.values()) <= 25
