"""A crew keeps its posts filled with real processes, whatever becomes of them."""

import multiprocessing
import os
import resource
import signal
import threading
import time
from functools import partial
from pathlib import Path

import pytest

from node import crew
from node.crew import Bell, Crew, Duty, Limits


def await_(condition, within_s=60):
    end = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < end, "it did not come true in time"
        time.sleep(0.02)


# Members are spawned: they are looked up by name, and tell what they do by files.


def note(folder, name):
    (folder / name).write_text(str(os.getpid()))


def wait_for_the_end(duty):
    while not duty.is_over():
        time.sleep(0.02)


def idle(folder, name, duty):
    duty.end()
    note(folder, name)
    wait_for_the_end(duty)


def hang(folder, name, duty):
    time.sleep(600)


def swell(folder, name, duty):
    duty.end()
    held = [bytearray(os.urandom(1)) * 400_000_000]
    wait_for_the_end(duty)
    del held


def leave(folder, name, duty):
    note(folder, name)


def fail(folder, name, duty):
    note(folder, name)
    raise SystemExit(3)


class Watched:
    """A crew of one, what it has lost, and the process ids of those that were at the post."""

    def __init__(self, folder: Path, member, **limits) -> None:
        self.folder = folder
        self.lost = []
        self.crew = Crew(
            1,
            partial(member, folder),
            name="w",
            limits=Limits(**limits),
            lost=lambda name, reason: self.lost.append((name, reason.code)),
        )

    def pid(self, name: str) -> int | None:
        file = self.folder / name
        return int(file.read_text() or 0) if file.exists() else None

    def watch(self) -> None:
        self.crew.watch()

    def is_replaced(self, name: str) -> bool:
        self.crew.watch()
        return self.pid(name) is not None


@pytest.fixture
def watched(tmp_path):
    def make(member, **limits):
        return Watched(tmp_path, member, **limits)

    return make


def test_a_worker_that_is_killed_is_told_of_and_replaced(watched):
    one = watched(idle)
    with one.crew:
        await_(lambda: one.pid("w-1"))
        os.kill(one.pid("w-1"), signal.SIGKILL)
        await_(lambda: one.is_replaced("w-2"))

    assert one.lost == [("w-1", "WORKER_KILLED")]


def test_a_worker_that_hangs_is_stopped_and_replaced(watched):
    one = watched(hang, timeout_s=0.5)
    with one.crew:
        await_(lambda: one.watch() or len(one.lost) == 2)

    assert one.lost == [("w-1", "TIMEOUT"), ("w-2", "TIMEOUT")]


def test_a_worker_that_waits_is_left_alone_however_long(watched):
    one = watched(idle, timeout_s=30, memory_bytes_max=10**11)
    with one.crew:
        await_(lambda: one.pid("w-1"))
        one.crew.watch()
        one.crew.watch()

    assert one.lost == []
    assert one.pid("w-2") is None


def test_a_worker_that_grows_too_large_is_stopped_and_replaced(watched):
    one = watched(swell, memory_bytes_max=300_000_000)
    with one.crew:
        await_(lambda: one.watch() or len(one.lost) == 2)

    assert one.lost == [("w-1", "OUT_OF_MEMORY"), ("w-2", "OUT_OF_MEMORY")]


def test_a_worker_that_has_done_its_share_is_replaced_and_nothing_is_lost(watched):
    one = watched(leave)
    with one.crew:
        await_(lambda: one.is_replaced("w-2"))

    assert one.lost == []


def test_workers_that_end_at_once_are_started_with_growing_pauses(watched):
    one = watched(fail)
    with one.crew:
        await_(lambda: one.is_replaced("w-2"))
        ended_at = []
        while len(one.lost) < 3:
            one.crew.watch()
            if len(one.lost) == 2 and not ended_at:
                ended_at.append(time.monotonic())
            time.sleep(0.02)

    assert one.lost == [(f"w-{number}", "WORKER_ENDED") for number in (1, 2, 3)]
    assert time.monotonic() - ended_at[0] > 1


@pytest.fixture
def files():
    """Sets how many files this process may open, as on a machine that has run out of them."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield lambda most=soft: resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_worker_that_cannot_be_started_is_started_later(watched, files):
    one = watched(idle)
    with one.crew:
        await_(lambda: one.pid("w-1"))
        os.kill(one.pid("w-1"), signal.SIGKILL)
        files(0)
        await_(lambda: one.watch() or one.lost)
        one.crew.watch()
        files()
        await_(lambda: one.is_replaced("w-3"))

    assert one.lost == [("w-1", "WORKER_KILLED")]
    assert one.pid("w-2") is None


def test_the_end_of_the_crew_ends_its_processes(watched):
    one = watched(idle)
    with one.crew:
        await_(lambda: one.pid("w-1"))
        pid = one.pid("w-1")

    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def hang_known(folder, name, duty):
    note(folder, name)
    time.sleep(600)


def keep_crew(folder):
    with Watched(folder, hang_known).crew:
        time.sleep(600)


def is_running(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_a_worker_that_hangs_ends_with_the_node_that_is_killed(tmp_path):
    node = multiprocessing.get_context("spawn").Process(target=keep_crew, args=(tmp_path,))
    node.start()
    known = tmp_path / "w-1"
    await_(lambda: known.exists() and known.read_text())
    pid = int(known.read_text())
    assert is_running(pid)

    node.kill()
    node.join()

    await_(lambda: not is_running(pid))


def rest(folder, name, duty):
    """Rest until called, and then tell of an outcome."""
    duty.begin()
    note(folder, name)
    started = time.monotonic()
    duty.rest(600)
    if time.monotonic() - started < 300 and not duty.is_over():
        duty.tell()
    duty.end()
    wait_for_the_end(duty)


def test_a_worker_that_rests_is_called_and_its_news_are_heard_once(tmp_path):
    one = Watched(tmp_path, rest)
    with one.crew:
        await_(lambda: any(tmp_path.iterdir()))
        assert not one.crew.has_news()

        one.crew.call(0)  # no new job: nobody is called
        one.crew.call(1)

        await_(one.crew.has_news)
        assert not one.crew.has_news()


def test_a_worker_that_rests_ends_when_told_to(tmp_path):
    one = Watched(tmp_path, rest)
    started = time.monotonic()
    with one.crew:
        await_(lambda: any(tmp_path.iterdir()))

    assert time.monotonic() - started < 60


def test_a_call_before_the_rest_is_not_missed():
    duty = Duty(multiprocessing.get_context("spawn"), number=0)
    duty.begin()
    duty.call()

    started = time.monotonic()
    duty.rest(600)

    assert time.monotonic() - started < 60


def test_who_rests_is_woken_by_a_call_not_by_looking(monkeypatch):
    monkeypatch.setattr(crew, "LOOK_S", 600)
    duty = Duty(multiprocessing.get_context("spawn"), number=0)
    duty.begin()
    resting = threading.Thread(target=duty.rest, args=(600,), daemon=True)
    resting.start()

    duty.call()

    resting.join(60)
    assert not resting.is_alive()


def test_who_awaits_news_is_woken_by_them(tmp_path):
    one = Watched(tmp_path, rest)
    with one.crew:
        await_(lambda: any(tmp_path.iterdir()))
        started = time.monotonic()
        one.crew.call(1)
        one.crew.await_news(600)

        assert one.crew.has_news()
        assert time.monotonic() - started < 60


def test_a_bell_that_nobody_hears_holds_up_nobody():
    """A pipe holds 64 KiB; one more ring would wait for ever."""
    bell = Bell(multiprocessing.get_context("spawn"))
    for _ in range(2**16 + 1):
        bell.ring()

    Bell.wait([bell], 600)
