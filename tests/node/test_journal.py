import fcntl
import os
import threading
from collections import deque
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from node.journal import WRITE_BYTES, Journal, Record, Rotten, adopt, check_of, journals
from node.sheet import BLOCK, Sheet


def record(content, notes=b"notes"):
    return Record(notes=notes, content=content, check=check_of(content))


@pytest.fixture
def journal(tmp_path):
    return Journal(tmp_path, 16 * BLOCK)


def left(folder):
    """What a journal holds whose process has gone: notes and contents."""
    found = []
    for path in journals(folder):
        with adopt(path) as abandoned:
            assert abandoned is not None
            found += [(one.notes, bytes(one.content)) for one in abandoned.records()]
    return found


def test_what_was_appended_is_there_after_the_process_has_gone(journal, tmp_path):
    journal.append([record(b"first"), record(bytes(BLOCK), b"{}")])
    journal.append([record(b"")])
    journal.close()

    assert left(tmp_path) == [(b"notes", b"first"), (b"{}", bytes(BLOCK)), (b"notes", b"")]


def test_a_journal_that_is_used_is_left_alone(journal, tmp_path):
    journal.append([record(b"first")])

    with adopt(journal.path) as abandoned:
        assert abandoned is None
    journal.close()


def test_a_journal_of_which_nothing_is_needed_goes_when_it_is_closed(journal, tmp_path):
    (slot,) = journal.append([record(b"first")])
    journal.release(slot)
    journal.close()

    assert journals(tmp_path) == []
    with adopt(journal.path) as abandoned:
        assert abandoned is None


def test_one_that_finds_no_room_is_not_taken_and_one_that_fits_is(journal):
    large, small = record(bytes(9 * BLOCK)), record(b"small")

    first, second, third = journal.append([large, large, small])

    assert (first is not None, second, third is not None) == (True, None, True)
    journal.release(first)
    assert journal.append([record(bytes(8 * BLOCK))])[0] is not None
    journal.close()


def test_what_is_longer_than_the_buffer_is_not_taken(tmp_path):
    journal = Journal(tmp_path, 4 * WRITE_BYTES)

    assert journal.append([record(bytes(WRITE_BYTES))]) == [None]
    journal.close()


def test_more_than_the_buffer_holds_is_written_in_pieces(tmp_path):
    journal = Journal(tmp_path, 4 * WRITE_BYTES)
    contents = [bytes([n]) * (WRITE_BYTES - BLOCK) for n in range(1, 4)]

    journal.append([record(one) for one in contents])
    journal.close()

    assert [content for _, content in left(tmp_path)] == contents


def test_records_are_read_back_while_the_journal_is_open(journal):
    slots = journal.append([record(b"first"), record(b"second", b"of the second")])

    read = journal.read([slots[1], slots[0]])

    assert [bytes(one.content) for one in read] == [b"second", b"first"]
    assert read[0].notes == b"of the second"
    journal.close()


@pytest.mark.parametrize("at", [0, 1024])
def test_a_record_that_the_disk_has_lost_is_not_read_as_another(journal, at):
    """A byte of its mark, or of its content."""
    (slot,) = journal.append([record(b"first")])
    with journal.path.open("r+b") as file:
        file.seek(slot.start + at)
        file.write(b"\0")

    with pytest.raises(Rotten, match="does not hold"):
        journal.read([slot])
    journal.close()


@pytest.mark.parametrize("at", [0, 20, 30, 50, 1024, 1200])
def test_what_a_crash_tore_is_no_record_and_the_others_are(journal, tmp_path, at):
    """One byte of mark, lengths, check sums, notes or content; a head is 48 bytes, notes are 5.

    Content begins at 1024; what lies between is of no meaning.
    """
    slots = journal.append([record(b"first"), record(b"torn" * 50), record(b"last")])
    journal.close()
    with journal.path.open("r+b") as file:
        file.seek(slots[1].start + at)
        byte = file.read(1)
        file.seek(slots[1].start + at)
        file.write(bytes([byte[0] ^ 1]))

    assert [content for _, content in left(tmp_path)] == [b"first", b"last"]


def test_content_that_looks_like_a_record_is_none(tmp_path):
    """An image may hold the bytes of any journal but the one that it will lie in."""
    forger = Journal(tmp_path / "forger", 16 * BLOCK)
    forger.append([record(b"forged")])
    forger.close()
    with forger.path.open("rb") as file:
        file.seek(BLOCK)
        forged = file.read(BLOCK)

    journal = Journal(tmp_path / "own", 16 * BLOCK)
    begin = 64 + len(b"notes")
    whole = bytes(BLOCK - begin) + forged
    (slot,) = journal.append([record(whole)])
    journal.close()
    with journal.path.open("r+b") as file:  # tear the record that holds it
        file.seek(slot.start)
        file.write(bytes(64))

    assert left(tmp_path / "own") == []


@pytest.mark.parametrize("content", [b"", b"short", bytes(3 * BLOCK), b"x" * 5 * BLOCK])
def test_a_file_that_is_no_journal_holds_nothing(tmp_path, content):
    (tmp_path / "other.journal").write_bytes(content)

    assert left(tmp_path) == []


def test_a_journal_of_another_version_is_left_to_that_version(tmp_path):
    path = tmp_path / "older.journal"
    path.write_bytes(b"petct-node journal 1".ljust(3 * BLOCK, b"\0"))
    ours = Journal(tmp_path, 16 * BLOCK)
    ours.append([record(b"first")])
    ours.close()

    told = {}
    for one in journals(tmp_path):
        with adopt(one) as abandoned:
            told[one] = abandoned.is_of_another_version
    assert told == {path: True, ours.path: False}


def on_a_sheet(content, notes=b"notes"):
    sheet = Sheet()
    sheet.add(content)
    return Record(notes=notes, content=sheet.content, check=check_of(content), sheet=sheet)


@pytest.mark.parametrize("size", [0, 1, BLOCK - 1024, BLOCK - 1023, 3 * BLOCK])
def test_on_disk_it_is_the_same_from_where_it_lies_and_copied(tmp_path, size):
    content = bytes(n % 251 for n in range(size))
    """But for the mark and the check sum over it, which are those of each journal."""
    found = []
    for one in (record(content), on_a_sheet(content)):
        journal = Journal(tmp_path, 16 * BLOCK)
        (slot,) = journal.append([one])
        laid = journal.path.read_bytes()[slot.start : slot.start + slot.size]
        found.append(laid[16:44] + laid[48:])
        journal.close()

    assert found[0] == found[1]
    assert [one for _, one in left(tmp_path)] == [content, content]


def test_what_is_copied_and_what_lies_on_a_sheet_follow_each_other(journal, tmp_path):
    made = [record(b"a"), on_a_sheet(b"b" * 5000), record(b"c" * 5000), on_a_sheet(b"d")]

    slots = journal.append(made)

    assert [one.start for one in slots] == [BLOCK, 2 * BLOCK, 4 * BLOCK, 6 * BLOCK]
    journal.close()
    assert [content for _, content in left(tmp_path)] == [bytes(one.content) for one in made]


def test_notes_that_are_longer_than_the_margin_are_kept(journal, tmp_path):
    journal.append([on_a_sheet(b"content", b"n" * 3000), on_a_sheet(b"next")])
    journal.close()

    assert left(tmp_path) == [(b"n" * 3000, b"content"), (b"notes", b"next")]


def test_after_a_wipe_nothing_of_the_images_is_on_the_disk(journal):
    (slot,) = journal.append([record(b"an image" * 1000)])
    assert not journal.wipe()

    journal.release(slot)
    assert journal.wipe()
    assert not journal.wipe()

    assert b"an image" not in journal.path.read_bytes()
    journal.close()


def test_a_disk_that_fails_makes_nothing_safe_and_ends_the_journal(journal, monkeypatch):
    def fail(_descriptor):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fdatasync", fail)
    with pytest.raises(OSError, match="Input/output"):
        journal.append([record(b"first")])

    monkeypatch.undo()
    assert journal.is_broken
    assert journal.append([record(b"second")]) == [None]
    journal.close()


def test_a_journal_that_is_closed_writes_into_no_file(journal, tmp_path):
    """The number of its descriptor is another file's by then."""
    journal.close()
    other = os.open(tmp_path / "other", os.O_RDWR | os.O_CREAT)
    try:
        assert journal.append([record(b"late")]) == [None]
        assert os.fstat(other).st_size == 0
    finally:
        os.close(other)


def test_a_write_that_hangs_keeps_a_journal_open_and_nobody_from_stopping(journal, monkeypatch):
    begun, goes_on, sync = threading.Event(), threading.Event(), os.fdatasync

    def hang(descriptor):
        begun.set()
        assert goes_on.wait(20)
        sync(descriptor)

    monkeypatch.setattr(os, "fdatasync", hang)
    monkeypatch.setattr("node.journal.CLOSE_S", 0.01)
    with ThreadPoolExecutor(1) as pool:
        late = pool.submit(journal.append, [record(b"late")])
        assert begun.wait(20)
        journal.close()
        goes_on.set()
        assert late.result(20) != [None]

    assert journal.path.exists()


def test_nothing_is_safe_before_it_is_synced(journal, monkeypatch):
    """The bytes are in the file when the sync begins, and the answer comes after it."""
    seen, sync = [], os.fdatasync

    def look(descriptor):
        seen.append(b"first" in journal.path.read_bytes())
        sync(descriptor)

    monkeypatch.setattr(os, "fdatasync", look)
    journal.append([record(b"first"), record(b"second")])

    assert seen == [True]
    journal.close()


def test_a_file_system_that_has_no_way_past_its_cache_will_do(tmp_path, monkeypatch):
    def refuse(descriptor, command, *flags):
        if command == fcntl.F_SETFL:
            raise OSError(22, "Invalid argument")
        return control(descriptor, command, *flags)

    control = fcntl.fcntl
    monkeypatch.setattr(fcntl, "fcntl", refuse)
    journal = Journal(tmp_path, 16 * BLOCK)
    (slot,) = journal.append([record(b"first")])

    assert bytes(journal.read([slot])[0].content) == b"first"
    journal.close()


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.one_of(
            st.lists(st.integers(0, 3 * BLOCK), min_size=1, max_size=4),
            st.just("release the oldest"),
            st.just("release the youngest"),
        ),
        max_size=30,
    )
)
def test_what_was_taken_and_not_released_is_always_there(tmp_path_factory, steps):
    """A model: whatever was released in whatever order, the rest is found whole, and only once."""
    folder = tmp_path_factory.mktemp("journal")
    journal = Journal(folder, 16 * BLOCK)
    kept: deque = deque()
    number = 0
    for step in steps:
        if isinstance(step, list):
            contents = []
            for size in step:
                number += 1
                contents.append(number.to_bytes(4) + bytes(size))
            slots = journal.append([record(one) for one in contents])
            kept += [(slot, one) for slot, one in zip(slots, contents, strict=True) if slot]
        elif kept:
            slot, _ = kept.popleft() if step == "release the oldest" else kept.pop()
            journal.release(slot)
    read = [bytes(journal.read([slot])[0].content) for slot, _ in kept]
    assert read == [content for _, content in kept]
    journal.close()

    found = [content for _, content in left(folder)]
    assert set(found) >= {content for _, content in kept}
    assert len(found) == len(set(found))
