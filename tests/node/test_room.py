import threading

import pytest

from node.errors import OutOfResources
from node.room import ASK_S, MEASURE_S, Quota, Room

PATIENCE_S = 30


class Disk:
    def __init__(self, free):
        self.free = free
        self.asked = 0

    def __call__(self):
        self.asked += 1
        return self.free


def test_the_disk_is_asked_once_and_what_is_taken_is_counted_down():
    disk, now = Disk(1000), [0.0]
    room = Room(disk, 100, clock=lambda: now[0])
    for _ in range(9):
        room.take(100, ahead=0)
        disk.free -= 50

    assert disk.asked == 1
    now[0] += ASK_S
    room.take(100, ahead=0)
    assert disk.asked == 2


def test_before_anything_is_refused_the_disk_is_asked_again():
    disk = Disk(1000)
    room = Room(disk, 100, clock=lambda: 0.0)
    room.take(900, ahead=0)

    with pytest.raises(OutOfResources, match="fewer than 100 bytes would stay free"):
        room.take(1, ahead=900)
    assert disk.asked == 2
    disk.free = 2000
    room.take(1, ahead=900)


def test_what_was_promised_and_is_not_written_is_not_free():
    room = Room(Disk(1000), 100, clock=lambda: 0.0)

    with pytest.raises(OutOfResources):
        room.take(100, ahead=801)
    room.take(100, ahead=800)


def test_what_others_write_is_seen_with_the_next_answer():
    disk, now = Disk(1000), [0.0]
    room = Room(disk, 100, clock=lambda: now[0])
    room.take(10, ahead=0)
    disk.free = 105
    now[0] += ASK_S

    with pytest.raises(OutOfResources):
        room.take(10, ahead=0)


def test_beyond_the_quota_nothing_is_taken_until_something_is_deleted():
    """Of 10 bytes 4 are held: 6 more fit, a 7th does not; measured again a second later."""
    held, now = [4], [0.0]
    quota = Quota(10, lambda: held[0], clock=lambda: now[0])
    quota.take(6)

    with pytest.raises(OutOfResources, match="10 of 10 bytes"):
        quota.take(1)
    held[0] = 3
    with pytest.raises(OutOfResources):
        quota.take(1)
    now[0] += 1
    quota.take(7)


class Beside:
    """Keeps what is to be done beside, until the test does it."""

    def __init__(self):
        self.works = []

    def __call__(self, work):
        self.works.append(work)

    def do(self):
        self.works.pop(0)()


def test_what_others_store_counts_when_it_is_measured():
    held, now, beside = [0], [0.0], Beside()
    quota = Quota(10, lambda: held[0], clock=lambda: now[0], beside=beside)
    quota.take(1)
    held[0] = 9
    quota.take(1)
    now[0] += MEASURE_S
    quota.take(1)
    beside.do()

    with pytest.raises(OutOfResources, match="10 of 10 bytes"):
        quota.take(1)


def test_what_is_taken_while_the_store_is_measured_is_never_missed():
    """5 of 10 are held, of which the measurement sees 2; 3 more come before it is told."""
    now, beside = [0.0], Beside()
    held = [2]
    quota = Quota(10, lambda: held[0], clock=lambda: now[0], beside=beside)
    quota.take(1)
    now[0] += MEASURE_S
    quota.take(3)
    quota.take(3)
    beside.do()  # 2, and the 6 of meanwhile

    quota.take(2)
    with pytest.raises(OutOfResources, match="10 of 10 bytes"):
        quota.take(1)


def test_nobody_is_refused_by_what_was_measured_before():
    """Full a minute ago, and empty since: the first that comes finds room."""
    held, now, beside = [10], [0.0], Beside()
    quota = Quota(10, lambda: held[0], clock=lambda: now[0], beside=beside)
    with pytest.raises(OutOfResources):
        quota.take(1)
    now[0] += 60
    held[0] = 0

    quota.take(10)
    assert beside.works == []


def test_a_measurement_that_is_overtaken_counts_no_more():
    held, now, beside = [0], [0.0], Beside()
    quota = Quota(10, lambda: held[0], clock=lambda: now[0], beside=beside)
    quota.take(9)
    now[0] += MEASURE_S
    quota.take(1)  # begins one beside
    held[0] = 5
    quota.take(2)  # would be refused: measured now, 5 and 2
    held[0] = 0
    beside.do()

    with pytest.raises(OutOfResources, match="7 of 10 bytes"):
        quota.take(4)


def test_the_longer_a_measurement_takes_the_rarer_it_is():
    """2 s: the next one after 20 s, whether the store is full or not."""
    measured, now, beside = [], [0.0], Beside()

    def measure():
        measured.append(now[0])
        now[0] += 2
        return 10

    quota = Quota(10, measure, clock=lambda: now[0], beside=beside)
    for _ in range(30):
        with pytest.raises(OutOfResources):
            quota.take(1)
        now[0] += 1

    assert measured == [0, 22]


def test_a_measurement_that_fails_leaves_what_was_counted(caplog):
    fails, now, beside = [False], [0.0], Beside()

    def measure():
        if fails[0]:
            raise ConnectionError("the database is away")
        return 4

    quota = Quota(10, measure, clock=lambda: now[0], beside=beside)
    quota.take(1)
    fails[0] = True
    now[0] += MEASURE_S
    quota.take(1)
    beside.do()
    assert "the store was not measured: ConnectionError" in caplog.text
    quota.take(4)

    now[0] += MEASURE_S
    fails[0] = False
    quota.take(6)  # would be refused: measured now, 4 and 6


def test_without_a_thread_it_is_measured_at_once():
    now = [0.0]

    def none_left(_work):
        raise RuntimeError("can't start new thread")

    held = [0]
    quota = Quota(10, lambda: held[0], clock=lambda: now[0], beside=none_left)
    quota.take(1)
    held[0] = 9
    now[0] += MEASURE_S

    with pytest.raises(OutOfResources, match="9 of 10 bytes"):
        quota.take(2)


def test_who_takes_does_not_wait_for_a_measurement():
    may_end, measuring, now = threading.Event(), threading.Event(), [0.0]
    calls = []

    def measure():
        calls.append(None)
        if len(calls) > 1:
            measuring.set()
            assert may_end.wait(PATIENCE_S)
        return 0

    quota = Quota(100, measure, clock=lambda: now[0])
    quota.take(1)
    now[0] += MEASURE_S
    for _ in range(50):
        quota.take(1)
    assert measuring.wait(PATIENCE_S)
    quota.take(1)
    may_end.set()

    assert len(calls) == 2
