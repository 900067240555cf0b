"""What check says of the ground a node stands on: each fault, and the status that monitors get."""

import io
import json
import shutil
import sqlite3
import time
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest
from rich.console import Console
from sqlalchemy import text

from db import migrate
from db.engine import connect, writing
from inference.bundle import default_path
from node.cli import ground
from node.cli.check import check
from node.cli.ground import file_system_of
from tests.postgresql import BOTH

MOUNTINFO = """\
22 1 254:0 / / rw,relatime shared:1 - {root} /dev/vda rw
23 22 0:21 / /mnt/dicom\\040store rw shared:2 - nfs4 server:/export rw
24 22 0:22 / /mnt rw - tmpfs tmpfs rw
"""


@pytest.fixture
def mounted(tmp_path, monkeypatch):
    """Has the check believe that everything lies on such a file system."""

    def on(kind):
        file = tmp_path / "mountinfo"
        file.write_text(MOUNTINFO.format(root=kind))
        monkeypatch.setattr(ground, "MOUNTS", file)
        return file

    on("ext4")
    return on


def run(settings, *, quick=True):
    """The status, and what was said of each thing."""
    screen = io.StringIO()
    status = check(settings, Console(file=screen, width=400), quick=quick, as_json=True)
    said = json.loads(screen.getvalue())
    return status, {one["name"]: (one["status"], one["message"]) for one in said["checks"]}


@pytest.mark.parametrize("database", BOTH)
def test_all_is_well(settings_of, mounted):
    status, said = run(settings_of())

    assert (status, {level for level, _ in said.values()}) == (0, {"ok"})
    assert list(said) == [
        "configuration",
        "store",
        "disk",
        "database",
        "durability",
        "clock",
    ]
    assert f"revision {migrate.newest()}" in said["database"][1]


@pytest.mark.parametrize("database", ["postgresql"])
def test_the_settings_of_postgresql_are_told(settings_of, mounted):
    _, said = run(settings_of())

    assert said["durability"][1] == "fsync on, full_page_writes on, synchronous_commit on"
    assert "the database +0.0 s" in said["clock"][1] or "the database -0.0 s" in said["clock"][1]


def test_commits_are_synchronous_also_where_the_database_is_set_otherwise(postgresql):
    url = postgresql.empty()
    name = url.rsplit("/", 1)[1]
    postgresql.run(f"ALTER DATABASE {name} SET synchronous_commit = off")

    engine = connect(url)
    with writing(engine) as connection:
        assert connection.execute(text("SHOW synchronous_commit")).scalar_one() == "on"
    engine.dispose()


@pytest.mark.parametrize("database", ["postgresql"])
@pytest.mark.parametrize(("name", "level"), [("fsync", "failed"), ("full_page_writes", "warning")])
def test_a_server_that_does_not_sync_is_told_of(settings_of, mounted, monkeypatch, name, level):
    monkeypatch.setattr(ground, "_show", lambda _, asked: "off" if asked == name else "on")

    status, said = run(settings_of())

    assert said["durability"][0] == level
    assert status == (2 if level == "failed" else 0)


@pytest.mark.parametrize(
    ("kind", "levels"),
    [
        ("tmpfs", ("warning", "warning")),
        ("overlay", ("warning", "warning")),
        ("nfs4", ("warning", "failed")),
        ("xfs", ("ok", "ok")),
    ],
)
def test_the_file_system_decides(settings_of, mounted, kind, levels):
    mounted(kind)

    _, said = run(settings_of())

    assert (said["disk"][0], said["durability"][0]) == levels
    assert kind in said["disk"][1]


def test_a_warning_is_one_for_monitors_and_none_for_a_health_check(settings_of, mounted):
    mounted("tmpfs")

    assert run(settings_of(), quick=False)[0] == 1
    assert run(settings_of(), quick=True)[0] == 0


def test_slow_synced_writes_are_told_of(settings_of, mounted, monkeypatch):
    monkeypatch.setattr(ground, "_sync_ms", lambda _: 250.0)

    _, said = run(settings_of())

    assert said["disk"] == (
        "warning",
        "ext4, a synced write takes 250.0 ms: associations will be slow",
    )


@pytest.mark.parametrize(
    ("skew", "level"), [(0, "ok"), (-3, "warning"), (3, "warning"), (60, "failed")]
)
def test_a_disk_whose_clock_differs_is_told_of(settings_of, mounted, monkeypatch, skew, level):
    clock = time.time
    monkeypatch.setattr(ground.time, "time", lambda: clock() - skew)

    _, said = run(settings_of())

    assert said["clock"][0] == level


def test_a_database_that_is_not_there_yet_is_not_made_by_looking(settings_of, mounted):
    settings = settings_of()
    settings.database.file.unlink()

    status, said = run(settings)

    assert (status, said["database"][0]) == (0, "ok")
    assert not settings.database.file.exists()


def test_an_older_database_is_told_of_and_stays_as_it_is(tmp_path, settings_of, mounted):
    url = f"sqlite:///{tmp_path / 'old.sqlite3'}"
    migrate.upgrade(url, revision="0001")

    status, said = run(settings_of(database={"url": url}), quick=False)

    assert status == 1
    assert said["database"][1].startswith("sqlite, revision 0001: the next start brings it to ")
    assert migrate.current(url) == "0001"


@pytest.mark.parametrize("database", BOTH)
def test_a_newer_database_fails(settings_of, database_url, mounted):
    engine = connect(database_url)
    with writing(engine) as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    try:
        status, said = run(settings_of())
    finally:
        with writing(engine) as connection:
            newest = {"newest": migrate.newest()}
            connection.execute(text("UPDATE alembic_version SET version_num = :newest"), newest)
        engine.dispose()

    assert (status, said["database"][0]) == (2, "failed")
    assert "revision 9999 is of a newer version" in said["database"][1]


def test_a_database_that_does_not_answer_fails(settings_of, free_port, mounted):
    url = f"postgresql+pg8000://node@127.0.0.1:{free_port}/node"

    status, said = run(settings_of(database={"url": url}))

    assert (status, said["database"][0]) == (2, "failed")


def test_a_damaged_database_fails(settings_of, mounted):
    settings = settings_of()
    file = settings.database.file
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    whole = file.read_bytes()
    file.write_bytes(whole[:8192] + b"\xff" * 20_000 + whole[28_192:])

    status, said = run(settings, quick=False)

    assert (status, said["integrity"][0]) == (2, "failed")


def test_a_store_that_cannot_be_written_fails(settings_of, tmp_path, mounted):
    (tmp_path / "file").write_text("no folder")

    status, said = run(settings_of(store={"root": str(tmp_path / "file"), "free_bytes_min": 0}))

    assert (status, said["store"][0]) == (2, "failed")


def test_a_bundle_whose_digest_differs_fails(settings_of, tmp_path, mounted):
    bundle = tmp_path / "bundle"
    shutil.copytree(default_path(), bundle)
    network = next(bundle.glob("*.onnx"))
    network.write_bytes(network.read_bytes() + b"\0")

    status, said = run(settings_of(model={"bundle": str(bundle)}), quick=False)

    assert (status, said["model"][0]) == (2, "failed")
    assert "digest" in said["model"][1]


@pytest.mark.associations
@pytest.mark.parametrize(
    ("commitment", "level"), [("auto", "ok"), ("required", "failed"), ("none", "ok")]
)
def test_a_destination_that_does_not_commit_fails_where_it_is_required_to(
    settings_of, listening, mounted, commitment, level
):
    peer = listening(lambda _: None)
    pacs = {**peer.model_dump(exclude={"tls"}), "commitment": commitment}

    _, said = run(settings_of(destinations={"pacs": pacs}), quick=False)

    assert said["destination pacs"][0] == level
    assert ("storage commitment" in said["destination pacs"][1]) == (commitment != "none")


@pytest.mark.parametrize(
    ("held", "level"), [(89, "ok"), (91, "warning"), (100, "failed"), (101, "failed")]
)
def test_a_quota_that_is_nearly_used_up_is_told_of(settings_of, mounted, monkeypatch, held, level):
    monkeypatch.setattr(ground.retention, "stored_bytes", lambda _: held)
    store = settings_of().store.model_dump()

    _, said = run(settings_of(store={**store, "bytes_max": 100}))

    assert said["quota"][0] == level


def test_the_longest_mount_above_a_path_is_the_one_it_lies_on(tmp_path):
    file = tmp_path / "mountinfo"
    file.write_text(MOUNTINFO.format(root="ext4"))

    found = [
        file_system_of(tmp_path.__class__(path), file)
        for path in ("/var/store", "/mnt/x", "/mnt/dicom store/a", "/mntx")
    ]

    assert found == ["ext4", "tmpfs", "nfs4", "ext4"]


@pytest.mark.parametrize("database", ["sqlite"])
@pytest.mark.parametrize(
    ("left", "level", "told"),
    [
        (timedelta(days=2), "ok", "holds until 20"),
        (timedelta(hours=12), "warning", "renew it"),
        (timedelta(minutes=-1), "failed", "every caller with a certificate is refused"),
    ],
)
def test_a_revocation_list_is_told_before_it_runs_out(settings_of, authority, left, level, told):
    """A restart would not mend it, so the health check of a container does not look."""
    until = f"{datetime.now(UTC) + left:%Y%m%d%H%M%SZ}"
    tls = {
        "certificate": str(authority.folder / "node.pem"),
        "private_key": str(authority.folder / "node.key"),
        "ca": str(authority.ca),
        "crl": str(authority.revoke(until=until)),
    }
    settings = settings_of(listener={"tls": tls})

    _, quick = run(settings)
    _, said = run(settings, quick=False)

    assert said["revocation"][0] == level
    assert told in said["revocation"][1]
    assert (quick["tls"][0], "revocation" in quick) == ("ok", False)
