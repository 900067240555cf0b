import pytest

from node.errors import OutOfResources
from node.room import ASK_S, Room


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
