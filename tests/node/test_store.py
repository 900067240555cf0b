import errno
import os
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.digest import digest_of, is_of
from node.errors import Conflicting, NotUnderstood, OutOfResources
from node.instance import ReceivedInstance, ResultKind, ResultObject
from node.room import Quota
from node.store import Store

REPORT = ResultObject(
    kind=ResultKind.REPORT,
    sop_class_uid="1.2.840.10008.5.1.4.1.1.88.34",
    sop_instance_uid="2.25.1",
    series_instance_uid="2.25.2",
    study_instance_uid="2.25.3",
    transfer_syntax_uid="1.2.840.10008.1.2.1",
    part10=b"report",
)


def received(uid="1.2.3.1.1", content=b"bytes", **changes):
    return replace(
        ReceivedInstance(
            sop_class_uid="1.2.840.10008.5.1.4.1.1.2",
            sop_instance_uid=uid,
            study_instance_uid="1.2.3",
            series_instance_uid="1.2.3.1",
            transfer_syntax_uid="1.2.840.10008.1.2.1",
            modality="CT",
            part10=content,
            calling_ae_title="PACS",
            association="a",
            received_at=datetime(2026, 3, 1, tzinfo=UTC),
        ),
        **changes,
    )


def files(store):
    return [path for path in store.root.rglob("*") if path.is_file()]


def test_what_was_put_is_read_back_with_its_digest(store):
    stored = store.put(received(content=b"as it came"))

    assert store.read(stored.path) == b"as it came"
    assert is_of(stored.digest, b"as it came")
    assert stored.size == 10


def test_the_same_bytes_again_change_nothing(store):
    first = store.put(received())
    changed_at = store.path(first.path).stat().st_mtime_ns

    assert store.put(received()) == first
    assert store.path(first.path).stat().st_mtime_ns == changed_at
    assert len(files(store)) == 1


def test_other_bytes_never_overwrite_the_first(store):
    first = store.put(received(content=b"first"))

    with pytest.raises(Conflicting):
        store.put(received(content=b"other"))

    assert store.read(first.path) == b"first"
    assert len(files(store)) == 1


def test_of_many_at_once_one_is_kept_and_the_others_conflict(store):
    contents = [bytes([n]) * 1000 for n in range(8)]

    def put(content):
        try:
            store.put(received(content=content))
        except Conflicting:
            return None
        return content

    with ThreadPoolExecutor(8) as pool:
        kept = [content for content in pool.map(put, contents) if content is not None]

    (path,) = files(store)
    assert kept == [path.read_bytes()]


def test_quarantine_keeps_bytes_under_their_own_digest(store):
    stored = store.quarantine(b"other")

    assert store.read(stored.path) == b"other"
    assert store.quarantine(b"other") == stored
    # As coreutils' sha256sum prints it, and as versions before named such a file.
    of_other = "d9298a10d1b0735837dc4bd85dac641b0f3cef27a47e5d53a54f2f3f5b2fcffa"
    assert stored.path == f"quarantine/d9/{of_other}.dcm"
    assert stored.digest == f"sha256:{of_other}"


def test_the_file_and_every_folder_above_it_are_synced(store, monkeypatch):
    """A name is on disk when the folder that holds it was synced after the name was made."""
    synced = []
    fsync = os.fsync

    def record(descriptor):
        synced.append(str(Path(f"/proc/self/fd/{descriptor}").readlink()))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", record)
    stored = store.put(received())
    store.settle([stored.path])
    path = store.path(stored.path)

    assert synced[-1] == str(path.parent)
    assert synced[-2].startswith(str(store.root / "parts"))  # the file, before it had its name
    above = [str(folder) for folder in path.parents]
    for folder in above[: above.index(str(store.root)) + 2]:
        assert folder in synced


def test_nothing_is_taken_below_the_watermark(tmp_path):
    store = Store(tmp_path, free_bytes_min=2**62)

    with pytest.raises(OutOfResources, match="would stay free"):
        store.put(received())

    assert files(store) == []


def test_results_may_use_what_the_watermark_keeps_free(tmp_path):
    store = Store(tmp_path, free_bytes_min=2**62)

    assert store.read(store.put_result(REPORT).path) == b"report"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        bytes(100_000),
        b"head" + bytes(200_000) + b"middle" + bytes(90_000) + b"tail",
        bytes(range(256)) * 300 + bytes(16384),
    ],
    ids=["nothing", "all 0", "parts of it 0", "0 at its end"],
)
def test_a_result_is_read_back_to_the_byte_however_much_of_it_is_0(store, content):
    made = replace(REPORT, part10=content)

    stored = store.put_result(made)

    assert store.read(stored.path) == content
    assert (stored.size, stored.digest) == (len(content), digest_of(content))


def test_what_is_0_takes_no_room_on_the_disk(store):
    """1 MiB of 0 between 4 bytes and 4 bytes: no more than a few blocks."""
    stored = store.put_result(replace(REPORT, part10=b"head" + bytes(1 << 20) + b"tail"))

    assert store.path(stored.path).stat().st_blocks * 512 < 100_000


def test_a_full_disk_leaves_nothing_behind(store, monkeypatch):
    def full(_descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    store.put(received())
    monkeypatch.setattr(os, "fsync", full)

    with pytest.raises(OutOfResources, match="No space left"):
        store.put(received("1.2.3.1.2"))

    assert len(files(store)) == 1


@pytest.mark.parametrize(
    "uid", ["", "../../etc/passwd", "1.2/3", "1..2", "1.2\n", "1" * 65, "\u0661"]
)
@pytest.mark.parametrize("name", ["sop_instance_uid", "series_instance_uid", "study_instance_uid"])
def test_what_is_no_uid_never_becomes_a_path(store, uid, name):
    with pytest.raises(NotUnderstood):
        store.put(received(**{name: uid}))

    assert files(store) == []


@given(parts=st.lists(st.integers(min_value=0, max_value=10**12), min_size=1, max_size=4))
def test_every_uid_has_a_place_inside_the_root(parts, tmp_path_factory):
    store = Store(tmp_path_factory.getbasetemp() / "uids", free_bytes_min=0)
    uid = ".".join(map(str, parts))

    stored = store.put(received(sop_instance_uid=uid, content=uid.encode()))

    assert store.path(stored.path).is_relative_to(store.root)
    assert store.read(stored.path) == uid.encode()


def test_a_path_that_leads_out_of_the_store_is_a_bug(store):
    with pytest.raises(ValueError, match="leads out"):
        store.read("../node.sqlite3")


def test_a_store_with_a_quota_refuses_and_recovers(tmp_path):
    held, now = [100], [0.0]
    quota = Quota(105, lambda: held[0], clock=lambda: now[0])
    store = Store(tmp_path, free_bytes_min=0, quota=quota)
    store.put(received())

    with pytest.raises(OutOfResources, match="of 105 bytes"):
        store.put(received("1.2.3.1.2"))
    held[0] = 0
    now[0] += 1

    assert store.put(received("1.2.3.1.2")).size == 5


@pytest.fixture
def tiny_disk(tmp_path):
    """A file system of a megabyte, mounted for one test."""
    if os.getuid() != 0:
        pytest.skip("mounting a file system needs root")
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(tmp_path)]
    mounted = subprocess.run(mount, capture_output=True, text=True, check=False)
    if mounted.returncode:
        pytest.skip(f"no file system can be mounted: {mounted.stderr.strip()}")
    yield tmp_path
    subprocess.run(["umount", str(tmp_path)], check=True)


def test_a_disk_that_is_full_refuses_and_takes_again_when_there_is_room(tiny_disk):
    store = Store(tiny_disk, free_bytes_min=100_000)
    taken = [store.put(received("1.2.3.1.1", bytes(700_000)))]

    with pytest.raises(OutOfResources, match="100000 bytes would stay free"):
        store.put(received("1.2.3.1.2", bytes(300_000)))
    assert store.remove([one.path for one in taken]) == [taken[0].path]

    assert store.put(received("1.2.3.1.2", bytes(300_000))).size == 300_000
    assert not store.path(taken[0].path).exists()


def test_what_a_crash_left_among_the_parts_is_swept_and_what_is_fresh_is_not(store):
    store.put(received())
    left, fresh = (store.root / "parts" / name for name in ("left.part", "fresh.part"))
    for one in (left, fresh):
        one.write_bytes(b"half")
    os.utime(left, (time.time() - 3700, time.time() - 3700))

    assert store.sweep() == 1

    assert (left.exists(), fresh.exists()) == (False, True)


def test_a_scratch_folder_is_gone_after_its_block_and_swept_after_a_crash(store):
    with store.scratch() as folder:
        (folder / "a.dcm").write_bytes(b"drawn")
        assert folder.is_relative_to(store.root)
    assert not folder.exists()

    folder.mkdir()
    (folder / "a.dcm").write_bytes(b"drawn")
    os.utime(folder, (time.time() - 3700, time.time() - 3700))

    assert store.sweep() == 1
    assert not folder.exists()


def test_removing_what_is_gone_already_is_no_failure(store):
    stored = store.put(received())

    assert store.remove([stored.path]) == [stored.path]
    assert store.remove([stored.path]) == [stored.path]


def test_a_result_of_a_run_that_was_cut_off_is_replaced(store):
    store.put_result(REPORT)

    stored = store.put_result(replace(REPORT, part10=b"second"))

    assert store.read(stored.path) == b"second"
    assert list(store.root.rglob("*.part")) == []
