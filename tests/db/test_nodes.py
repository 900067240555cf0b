from datetime import timedelta

from db import associations, instances, nodes, studies
from db.associations import Association
from db.engine import reading, writing

LEASE = timedelta(seconds=60)


def alive(engine, run, *, name, now):
    with writing(engine) as connection:
        nodes.alive(connection, run, name=name, now=now, lease=LEASE)


def opened(engine, instance, association, *, node, now):
    with writing(engine) as connection:
        sender = Association(
            association=association, calling_ae_title="PACS", peer="h:1", node=node
        )
        associations.brought(connection, sender, now=now)
        instances.register(connection, instance(f"1.{association}", association=f"{association}"))


def closed(engine, *, now):
    """How many were closed, and which are open after that."""
    with writing(engine) as connection:
        count = nodes.close_abandoned(connection, now=now)
    with reading(engine) as connection:
        senders = studies.senders(connection, "1.2.3")
    return count, [one.association for one in senders if one.released_at is None]


def test_what_a_killed_run_left_open_is_closed_by_the_next_of_its_name(engine, instance, now):
    alive(engine, "first", name="host:104", now=now)
    opened(engine, instance, "7", node="first", now=now)
    later = now + timedelta(seconds=5)

    alive(engine, "second", name="host:104", now=later)

    assert closed(engine, now=later) == (1, [])
    with reading(engine) as connection:
        (sender,) = studies.senders(connection, "1.2.3")
    assert sender.released_at == now, "when it was last heard of"


def test_the_associations_of_another_node_that_lives_stay_open(engine, instance, now):
    alive(engine, "there", name="there:104", now=now)
    alive(engine, "here", name="here:104", now=now)
    opened(engine, instance, "7", node="there", now=now)
    opened(engine, instance, "8", node="here", now=now)

    assert closed(engine, now=now + LEASE) == (0, ["7", "8"])


def test_a_node_that_never_comes_back_loses_them_when_its_lease_ends(engine, instance, now):
    alive(engine, "there", name="there:104", now=now)
    alive(engine, "here", name="here:104", now=now + timedelta(seconds=30))
    opened(engine, instance, "7", node="there", now=now)
    opened(engine, instance, "8", node="here", now=now)

    assert closed(engine, now=now + timedelta(seconds=61)) == (1, ["8"])
