from db import associations, instances, studies
from db.associations import Association
from db.engine import reading, writing
from db.instances import Quarantined, set_digest


def test_an_instance_is_registered_once(engine, instance):
    with writing(engine) as connection:
        assert instances.register(connection, instance("1.1"))
        assert not instances.register(connection, instance("1.1", digest="sha256:" + "f" * 64))

    with reading(engine) as connection:
        assert instances.find(connection, "1.1") == instance("1.1")
        assert instances.find(connection, "1.2") is None


def test_only_what_an_analysis_may_read_is_analyzed(engine, instance):
    with writing(engine) as connection:
        for uid, modality in (("1.3", "PT"), ("1.1", "CT"), ("1.2", "KO"), ("1.4", "RTSTRUCT")):
            instances.register(connection, instance(uid, modality=modality))

    with reading(engine) as connection:
        chosen = instances.to_analyze(connection, "1.2.3")

    assert [one.sop_instance_uid for one in chosen] == ["1.1", "1.3", "1.4"]


def test_the_digest_of_a_set_knows_no_order_and_every_byte(instance):
    one, two = instance("1.1"), instance("1.2")

    assert set_digest([one, two]) == set_digest([two, one])
    assert set_digest([one, two]) != set_digest([one])
    assert set_digest([one]) != set_digest([instance("1.1", digest="sha256:" + "f" * 64)])


def test_the_digest_of_the_empty_set_is_that_of_no_bytes():
    """sha256 of nothing, as coreutils' sha256sum prints it."""
    assert set_digest([]) == (
        "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    )


def test_a_set_that_an_older_version_digested_keeps_its_digest(instance):
    """As ``printf '1.1 %064d\\n1.2 %064d\\n' 0 0 | sha256sum`` prints it: the digits alone."""
    assert set_digest([instance("1.1"), instance("1.2")]) == (
        "sha256:d24099e6680f99f3da0a84821f8f658a8ebdb58c01c560100d17d3f89a401548"
    )


def test_conflicting_bytes_are_remembered_once(engine, now):
    conflicting = Quarantined(
        sop_instance_uid="1.1",
        study_instance_uid="1.2.3",
        path="quarantine/x.dcm",
        digest="sha256:" + "f" * 64,
        calling_ae_title="PACS",
        received_at=now,
        reason="other bytes",
    )
    with writing(engine) as connection:
        instances.keep_aside(connection, conflicting)
        instances.keep_aside(connection, conflicting)

    with reading(engine) as connection:
        assert instances.kept_aside(connection, "1.2.3") == [conflicting]


def test_a_study_counts_its_series_and_names_its_senders(engine, instance, now):
    with writing(engine) as connection:
        for name in ("a", "b"):
            sender = Association(association=name, calling_ae_title=name.upper(), peer="h:1")
            associations.brought(connection, sender, now=now)
        associations.closed(connection, "a", now=now)
        for uid, modality, name in (("1.1", "CT", "a"), ("1.2", "CT", "a"), ("1.3", "PT", "b")):
            instances.register(connection, instance(uid, modality=modality, association=name))

    with reading(engine) as connection:
        here = studies.series_here(connection, "1.2.3")
        senders = studies.senders(connection, "1.2.3")

    assert [(one.modality, one.count) for one in here] == [("CT", 2), ("PT", 1)]
    assert [(one.calling_ae_title, one.released_at) for one in senders] == [("A", now), ("B", None)]


def test_a_study_is_unsettled_until_it_is_settled_as_it_stands(engine, now):
    with writing(engine) as connection:
        studies.touch(connection, "1.2.3", now=now)
        (seen,) = studies.unsettled(connection)
        studies.touch(connection, "1.2.3", now=now)

        assert not studies.settle(connection, seen, state=studies.StudyState.QUEUED)
        (seen_again,) = studies.unsettled(connection)
        assert studies.settle(connection, seen_again, state=studies.StudyState.QUEUED)

        assert studies.unsettled(connection) == []
        assert not studies.find(connection, "1.2.3").unsettled
