"""A database of every revision is upgraded with what stands in it; a newer one is left alone."""

from datetime import UTC, datetime

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import MetaData, create_engine, inspect, select, text
from sqlalchemy.exc import DBAPIError

from db import deliveries, instances, jobs, migrate, results, studies
from db.engine import connect, reading, writing
from db.migrate import DatabaseTooNew, RowsLost, current, newest, revisions, upgrade
from db.tables import metadata

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
LATER = datetime(2026, 3, 1, 13, tzinfo=UTC)
SHA = "0" * 64
SAME = "sop_instance_uid, study_instance_uid, path, digest, calling_ae_title, received_at, reason"
AT_0001 = {
    "associations": [
        {
            "association": "open",
            "calling_ae_title": "PACS",
            "peer": "10.0.0.5:104",
            "opened_at": NOW,
            "last_at": LATER,
        },
        {
            "association": "ended",
            "calling_ae_title": "PACS",
            "peer": "10.0.0.5:104",
            "opened_at": NOW,
            "last_at": NOW,
            "released_at": NOW,
        },
    ],
    "instances": [
        {
            "sop_instance_uid": "1.2.3.1.1",
            "study_instance_uid": "1.2.3",
            "series_instance_uid": "1.2.3.1",
            "sop_class_uid": "1.2.840.10008.5.1.4.1.1.2",
            "transfer_syntax_uid": "1.2.840.10008.1.2.1",
            "modality": "CT",
            "path": "instances/a.dcm",
            "sha256": SHA,
            "size": 5_000_000_000,
            "calling_ae_title": "PACS",
            "association": "open",
            "received_at": NOW,
        }
    ],
    "quarantine": [
        {
            "sop_instance_uid": "1.2.3.1.1",
            "study_instance_uid": "1.2.3",
            "path": "quarantine/b.dcm",
            "sha256": "f" * 64,
            "calling_ae_title": "PACS",
            "received_at": NOW,
            "reason": "other bytes",
        }
    ],
    "studies": [
        {
            "study_instance_uid": "1.2.3",
            "state": "analyzed",
            "reasons": '[{"code": "CT_PARTIAL", "meaning": "\\u00e9"}]',
            "revision": 1,
            "settled_revision": 1,
            "first_at": NOW,
            "last_at": NOW,
        }
    ],
    "jobs": [
        {
            "study_instance_uid": "1.2.3",
            "instance_set_digest": "sha256:a",
            "bundle_digest": "sha256:b",
            "state": "done",
            "attempts": 1,
            "due_at": NOW,
            "created_at": NOW,
            "finished_at": LATER,
            "why_ready": "QUIET",
            "warnings": "[]",
            "findings": '{"outcome": "analyzed"}',
            "reasons": "[]",
        }
    ],
    "job_instances": [{"job_id": 1, "sop_instance_uid": "1.2.3.1.1"}],
    "results": [
        {
            "sop_instance_uid": f"2.25.{number}",
            "job_id": 1,
            "kind": "SR",
            "sop_class_uid": "1.2.840.10008.5.1.4.1.1.88.34",
            "series_instance_uid": "2.25.9",
            "study_instance_uid": "1.2.3",
            "transfer_syntax_uid": "1.2.840.10008.1.2.1",
            "path": f"results/{number}.dcm",
            "sha256": SHA,
        }
        for number in (1, 2)
    ],
    "deliveries": [
        {
            "sop_instance_uid": "2.25.1",
            "destination": "pacs",
            "state": "sent",
            "attempts": 1,
            "due_at": NOW,
            "sent_at": LATER,
        },
        {
            "sop_instance_uid": "2.25.2",
            "destination": "pacs",
            "state": "owed",
            "attempts": 3,
            "due_at": NOW,
            "last_error": "no association",
        },
    ],
}
AT_0002 = {
    **AT_0001,
    "deliveries": [
        {**AT_0001["deliveries"][0], "state": "committed", "evidence": "find"},
        {**AT_0001["deliveries"][1], "asks": 2, "rejections": 1},
    ],
    "commitment_requests": [
        {
            "transaction_uid": "2.25.7",
            "destination": "pacs",
            "ae_title": "PACS",
            "created_at": NOW,
        }
    ],
    "commitment_items": [{"transaction_uid": "2.25.7", "delivery_id": 2}],
    "pledges": [
        {
            "calling_ae_title": "PACS",
            "transaction_uid": "1.9",
            "association": "ended",
            "instances": '[["1.2.840.10008.5.1.4.1.1.2", "1.2.3.1.1"]]',
            "digest": SHA,
            "state": "asked",
            "attempts": 0,
            "due_at": NOW,
            "created_at": NOW,
        }
    ],
}
AT_0003 = {
    **AT_0002,
    "nodes": [{"run": "r", "name": "n", "alive_until": LATER}],
    "associations": [{**AT_0001["associations"][0], "node": "r"}, AT_0001["associations"][1]],
    "studies": [{**AT_0001["studies"][0], "deleted_at": LATER}],
    "instances": [{**AT_0001["instances"][0], "deleted_at": LATER, "pledged_at": NOW}],
}
AT_0004 = {
    **AT_0003,
    "attempts": [
        {
            "job_id": 1,
            "attempt": 1,
            "began_at": NOW,
            "ended_at": LATER,
            "stages": '[{"name": "read", "start_s": 0.0, "seconds": 1.5, "broken": false}]',
        }
    ],
}
DIGESTED = ("instances", "quarantine", "results")


def with_named_digests(rows):
    """The rows of a table with what they say of SHA-256 as 0005 has it."""
    return [
        {name: value for name, value in row.items() if name != "sha256"}
        | {"digest": f"sha256:{row['sha256']}"}
        for row in rows
    ]


AT_0005 = AT_0004 | {name: with_named_digests(AT_0004[name]) for name in DIGESTED}
ROWS = {"0001": AT_0001, "0002": AT_0002, "0003": AT_0003, "0004": AT_0004, "0005": AT_0005}
"""What stood in a database of each revision, as the driver sees it."""


@pytest.fixture
def filled(empty_url):
    """Makes a database of a revision, with rows in every table of it."""

    def fill(revision):
        upgrade(empty_url, revision=revision)
        engine = connect(empty_url)
        with writing(engine) as connection:
            for name, rows in ROWS[revision].items():
                for row in rows:
                    names = ", ".join(row)
                    values = ", ".join(f":{column}" for column in row)
                    statement = f"INSERT INTO {name} ({names}) VALUES ({values})"
                    connection.execute(text(statement), _as_kept(row, connection.dialect.name))
        engine.dispose()
        return empty_url

    return fill


def _as_kept(row, dialect):
    """SQLite keeps times as text in UTC."""
    if dialect != "sqlite":
        return row
    return {
        name: value.strftime("%Y-%m-%d %H:%M:%S.%f") if isinstance(value, datetime) else value
        for name, value in row.items()
    }


def rows_of(url):
    """Every row of every table, as plain values by column."""
    engine = create_engine(url)
    found = MetaData()
    with engine.connect() as connection:
        found.reflect(connection)
        tables = {
            name: [
                dict(row)
                for row in connection.execute(select(table).order_by(*table.primary_key)).mappings()
            ]
            for name, table in found.tables.items()
        }
    engine.dispose()
    return tables


def test_there_are_rows_of_every_revision():
    assert set(ROWS) == revisions()
    assert max(ROWS) == newest()


@pytest.mark.parametrize("revision", sorted(ROWS))
def test_nothing_is_lost_on_the_way_to_the_newest_revision(filled, revision):
    url = filled(revision)
    before = rows_of(url)

    upgrade(url)

    after = rows_of(url)
    if revision < "0005":
        before |= {name: with_named_digests(before[name]) for name in DIGESTED}
    changed = {("associations", "released_at"), ("deliveries", "evidence")}
    for name, rows in before.items():
        if name == "alembic_version":
            continue
        assert len(after[name]) == len(rows) > 0
        for old, new in zip(rows, after[name], strict=True):
            kept = {column for column in old if (name, column) not in changed}
            assert {column: new[column] for column in kept} == {c: old[c] for c in kept}
    assert current(url) == newest()


@pytest.mark.parametrize("revision", sorted(ROWS))
def test_the_newest_tables_are_those_that_the_code_knows(filled, revision):
    url = filled(revision)

    upgrade(url)

    engine = connect(url)
    with reading(engine) as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
        assert set(inspect(connection).get_table_names()) == {*metadata.tables, "alembic_version"}
    engine.dispose()


@pytest.mark.parametrize("revision", sorted(ROWS))
def test_the_code_reads_what_an_older_one_wrote(filled, revision):
    url = filled(revision)
    upgrade(url)

    engine = connect(url)
    with reading(engine) as connection:
        study = studies.find(connection, "1.2.3")
        (job,) = jobs.of_study(connection, "1.2.3")
        (instance,) = instances.of_job(connection, job.id)
        made = results.of_job(connection, job.id)
        sent, owed = deliveries.of_study(connection, "1.2.3")
        senders = studies.senders(connection, "1.2.3")
    engine.dispose()

    assert (study.state, study.reasons[0]["meaning"], study.last_at) == ("analyzed", "\u00e9", NOW)
    assert (job.findings, job.finished_at) == ({"outcome": "analyzed"}, LATER)
    assert instance.size == 5_000_000_000
    assert {one.digest for one in [instance, *made]} == {f"sha256:{SHA}"}
    assert len(made) == 2
    assert (sent.delivered, owed.delivered) == (True, False)
    # What was open belongs to a node that was stopped, unless its run is known.
    assert [one.released_at for one in senders] == [None if revision >= "0003" else LATER]


@pytest.mark.parametrize("revision", sorted(ROWS))
def test_the_constraints_hold_after_an_upgrade(filled, revision):
    url = filled(revision)
    upgrade(url)

    engine = connect(url)
    check, foreign = r"(?i)check constraint", r"(?i)foreign key constraint"
    for broken, what in (
        ("UPDATE studies SET state = 'lost'", check),
        ("UPDATE deliveries SET state = 'lost'", check),
        ("UPDATE deliveries SET evidence = 'hearsay'", check),
        ("DELETE FROM studies", foreign),
        ("UPDATE jobs SET study_instance_uid = '9.9'", foreign),
        ("INSERT INTO job_instances (job_id, sop_instance_uid) VALUES (1, '9.9')", foreign),
        ("DELETE FROM results", foreign),
        ("UPDATE results SET job_id = 9", foreign),
        (f"INSERT INTO quarantine ({SAME}) SELECT {SAME} FROM quarantine", r"(?i)unique"),
    ):
        with pytest.raises(DBAPIError, match=what), writing(engine) as connection:
            connection.execute(text(broken))
    engine.dispose()


def test_a_database_of_a_newer_version_is_refused_and_left_as_it_is(filled):
    url = filled("0003")
    engine = connect(url)
    with writing(engine) as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    engine.dispose()
    before = rows_of(url)

    with pytest.raises(DatabaseTooNew, match="revision 9999, which this version"):
        upgrade(url)

    assert rows_of(url) == before


def test_an_upgrade_that_fails_leaves_the_revision_it_found(filled):
    url = filled("0002")
    before = rows_of(url)
    engine = connect(url)
    with writing(engine) as connection:
        # What 0003 makes is there already: its first statement fails.
        connection.execute(text("CREATE TABLE nodes (run VARCHAR(1))"))
    engine.dispose()

    with pytest.raises(Exception, match="nodes"):
        upgrade(url)

    after = rows_of(url)
    assert after.pop("nodes") == []
    assert after == before
    assert current(url) == "0002"


def test_an_upgrade_that_would_lose_rows_is_undone(filled, monkeypatch):
    url = filled("0004")
    if not url.startswith("sqlite"):
        pytest.skip("PostgreSQL enforces references during an upgrade as ever")
    before = rows_of(url)
    step = migrate.command.upgrade

    def losing(config, revision):
        step(config, revision)
        config.attributes["connection"].execute(text("DELETE FROM instances"))

    monkeypatch.setattr(migrate.command, "upgrade", losing)
    with pytest.raises(RowsLost, match="1 rows would refer to what is not there, in job_instances"):
        upgrade(url)

    assert rows_of(url) == before
    assert current(url) == "0004"


def test_rows_that_refer_to_nothing_already_keep_nobody_from_upgrading(filled):
    url = filled("0004")
    if not url.startswith("sqlite"):
        pytest.skip("PostgreSQL has no such rows")
    engine = create_engine(url)  # which enforces no references
    with engine.begin() as connection:
        connection.execute(text("DELETE FROM instances"))
    engine.dispose()

    upgrade(url)

    assert current(url) == newest()
