"""How the node builds its intake: with a journal where there is room, and heir of what crashed."""

from sqlalchemy import select

from db.engine import reading
from db.tables import instances as table
from node.audit import ignore
from node.errors import OutOfResources
from node.journal import journals
from node.reception import Reception, build_intake, recover
from node.store import Store


def uids(engine):
    with reading(engine) as connection:
        return set(connection.execute(select(table.c.sop_instance_uid)).scalars())


def settings_with(settings_of, store, **more):
    return settings_of(store={"root": str(store.root), "free_bytes_min": 0, **more})


def test_what_a_crash_left_is_filed_before_anything_new_comes(
    settings_of, engine, store, clock, arrival, monkeypatch
):
    settings = settings_with(settings_of, store, journal_bytes=1 << 20)
    first = build_intake(settings, engine, store, clock=clock)
    with monkeypatch.context() as patched:

        def refuse(*_arguments, **_more):
            raise OutOfResources("the disk is full")

        patched.setattr(store, "put_promised", refuse)
        first.receive(arrival("1.1"))
        first.close()
        heir = build_intake(settings, engine, store, clock=clock)  # which cannot file it, either
        assert uids(engine) == set()
        heir.close()

    heir = build_intake(settings, engine, store, clock=clock)
    assert uids(engine) == {"1.1"}
    recover(settings, heir)
    heir.close()
    assert journals(store.root / "journal") == []


def test_a_journal_of_none_is_none(settings_of, engine, store, clock, arrival):
    settings = settings_with(settings_of, store, journal_bytes=0)
    intake = build_intake(settings, engine, store, clock=clock)

    intake.receive(arrival("1.1"))

    assert uids(engine) == {"1.1"}
    assert not (store.root / "journal").exists()


def test_a_disk_without_room_for_a_journal_has_none(settings_of, engine, store, clock, arrival):
    settings = settings_with(settings_of, store, journal_bytes=store.free_bytes() // 5)
    intake = build_intake(settings, engine, store, clock=clock)

    intake.receive(arrival("1.1"))

    assert uids(engine) == {"1.1"}
    assert journals(store.root / "journal") == []


def test_a_store_that_takes_no_journal_takes_instances(settings_of, engine, store, clock, arrival):
    settings = settings_with(settings_of, store, journal_bytes=1 << 20)
    (store.root / "instances").mkdir(parents=True)
    (store.root / "journal").write_text("in the way")
    intake = build_intake(settings, engine, Store(store.root, 0), clock=clock)

    intake.receive(arrival("1.1"))

    assert uids(engine) == {"1.1"}
    intake.close()


def test_the_end_of_an_association_is_news_once(intake):
    reception = Reception(intake, ignore)
    assert not reception.has_news()

    reception.closed("a")
    reception.closed("b")

    assert reception.has_news()
    assert not reception.has_news()
