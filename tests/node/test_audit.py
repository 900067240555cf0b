"""Every audit message is held against the schema of PS3.15 A.5.1 and the tables of A.5.3."""

import re
import xml.etree.ElementTree as ET
from datetime import UTC, datetime, timedelta, timezone

import pytest
from pydicom.sr.codedict import codes

from node import audit
from node.audit import Event, Origin, Study

ORIGIN = Origin(source_id="node 1", site="General Hospital", ae_title="PETCTNODE", process_id=77)
WHEN = datetime(2026, 1, 2, 12, 30, tzinfo=UTC)
STUDY = Study(study_instance_uid="1.2.3", counts={"1.2.840.10008.5.1.4.1.1.2": 84}, life_cycle="2")
PACS = audit.peer("PACS", "10.0.0.5")
SOMEBODY = audit.Participant(user_id="operator", is_requestor=True)

EVENTS = {
    "started": audit.application_started(),
    "stopped": audit.application_stopped(),
    "settings": audit.settings_changed("none", "sha256:12"),
    "opened": audit.association_opened(PACS),
    "rejected": audit.association_rejected(PACS, "its AE title is not in listener.peers"),
    "no TLS": audit.connection_refused("10.0.0.9", "wrong version number"),
    "received": audit.instances_received(PACS, STUDY),
    "sending": audit.sending(PACS, STUDY),
    "sent": audit.instances_sent(PACS, STUDY),
    "not sent": audit.instances_sent(PACS, STUDY, failure="not taken"),
    "created": audit.instances_created(STUDY),
    "viewed": audit.study_viewed(SOMEBODY, STUDY),
    "exported": audit.study_exported(SOMEBODY, STUDY),
    "deleted": audit.study_deleted(STUDY, why="kept for 30 days"),
    "deleted by somebody": audit.study_deleted(STUDY, who=SOMEBODY),
}

CODED = {"csd-code": r".+", "codeSystemName": r".+", "originalText": r".+"}
# name: (attributes that must be there, those that may, children in their order with how many)
SCHEMA = {
    "AuditMessage": (
        {},
        {},
        [
            ("EventIdentification", 1, 1),
            ("ActiveParticipant", 1, 99),
            ("AuditSourceIdentification", 1, 1),
            ("ParticipantObjectIdentification", 0, 99),
        ],
    ),
    "EventIdentification": (
        {
            "EventDateTime": r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00",
            "EventOutcomeIndicator": r"0|4|8|12",
        },
        {"EventActionCode": r"[CRUDE]"},
        [("EventID", 1, 1), ("EventTypeCode", 0, 99), ("EventOutcomeDescription", 0, 1)],
    ),
    "EventOutcomeDescription": ({}, {}, []),
    "ActiveParticipant": (
        {"UserID": r".+", "UserIsRequestor": r"true|false"},
        {
            "AlternativeUserID": r"AETITLES=.+",
            "UserName": r".+",
            "NetworkAccessPointID": r".+",
            "NetworkAccessPointTypeCode": r"[1-5]",
        },
        [("RoleIDCode", 0, 99)],
    ),
    "AuditSourceIdentification": (
        {"AuditSourceID": r".+"},
        {"AuditEnterpriseSiteID": r".+"},
        [("AuditSourceTypeCode", 0, 99)],
    ),
    "AuditSourceTypeCode": ({"csd-code": r"[1-9]"}, {}, []),
    "ParticipantObjectIdentification": (
        {"ParticipantObjectID": r".+"},
        {
            "ParticipantObjectTypeCode": r"[1-4]",
            "ParticipantObjectTypeCodeRole": r"[1-9]|1\d|2[0-6]",
            "ParticipantObjectDataLifeCycle": r"[1-9]|1[0-5]",
        },
        [
            ("ParticipantObjectIDTypeCode", 1, 1),
            ("ParticipantObjectName", 1, 1),
            ("ParticipantObjectDetail", 0, 99),
            ("ParticipantObjectDescription", 0, 99),
        ],
    ),
    "ParticipantObjectName": ({}, {}, []),
    "ParticipantObjectDescription": ({}, {}, [("SOPClass", 0, 99)]),
    "SOPClass": ({"NumberOfInstances": r"\d+"}, {"UID": r"[0-9.]+"}, []),
    **dict.fromkeys(
        ("EventID", "EventTypeCode", "RoleIDCode", "ParticipantObjectIDTypeCode"), (CODED, {}, [])
    ),
}


def violations(element):
    """What of an element and of all below it the schema does not allow."""
    required, optional, children = SCHEMA[element.tag]
    allowed = {**required, **optional}
    for name in {*required, *element.keys()}:
        if not re.fullmatch(allowed.get(name, "(?!)"), element.get(name, "")):
            yield f"{element.tag}@{name} is {element.get(name)!r}"
    order = [name for name, _, _ in children]
    here = [child.tag for child in element]
    if set(here) - set(order) or here != sorted(here, key=order.index):
        yield f"{element.tag} holds {here}"
    for name, least, most in children:
        if not least <= here.count(name) <= most:
            yield f"{element.tag} holds {here.count(name)} {name}"
    for child in element:
        yield from violations(child)


def written(event, **options):
    return ET.fromstring(audit.message(event, ORIGIN, when=WHEN, **options))


@pytest.mark.parametrize("event", EVENTS.values(), ids=EVENTS)
def test_a_message_follows_the_schema(event):
    assert list(violations(written(event))) == []


def test_the_schema_of_this_test_finds_what_is_wrong():
    message = written(EVENTS["received"])
    message.find("EventIdentification").set("EventActionCode", "X")
    message.find("ActiveParticipant").attrib.pop("UserIsRequestor")
    message.append(ET.Element("EventIdentification"))

    assert len(list(violations(message))) >= 4


@pytest.mark.parametrize(
    ("name", "event_id", "action", "outcome"),
    [
        ("started", "110100", "E", "0"),
        ("settings", "110113", "E", "0"),
        ("rejected", "110113", "E", "4"),
        ("sending", "110102", "E", "0"),
        ("received", "110104", "C", "0"),
        ("not sent", "110104", "C", "4"),
        ("created", "110103", "C", "0"),
        ("viewed", "110103", "R", "0"),
        ("exported", "110106", "R", "0"),
        ("deleted", "110105", "D", "0"),
    ],
)
def test_an_event_is_the_one_of_its_table(name, event_id, action, outcome):
    """PS3.15 A.5.3.1, .2, .3, .4, .6, .8 and .11."""
    event = written(EVENTS[name]).find("EventIdentification")

    assert event.find("EventID").get("csd-code") == event_id
    assert event.get("EventActionCode") == action
    assert event.get("EventOutcomeIndicator") == outcome


@pytest.mark.parametrize("name", [name for name, event in EVENTS.items() if event.study])
def test_what_concerns_a_study_names_it_and_withholds_the_patient(name):
    objects = written(EVENTS[name]).findall("ParticipantObjectIdentification")
    study, patient = objects

    assert study.get("ParticipantObjectID") == "1.2.3"
    assert study.find("ParticipantObjectIDTypeCode").get("csd-code") == "110180"
    assert study.find("ParticipantObjectDescription/SOPClass").get("NumberOfInstances") == "84"
    assert patient.get("ParticipantObjectTypeCodeRole") == "1"
    assert patient.get("ParticipantObjectID") == audit.PATIENT_WITHHELD


def test_a_patient_id_stands_where_it_is_given():
    assert 'ParticipantObjectID="4711"' in audit.message(
        EVENTS["received"], ORIGIN, when=WHEN, patient_id="4711"
    )


def test_source_and_destination_change_places_with_the_direction():
    def roles(name):
        return {
            one.get("UserID"): one.find("RoleIDCode").get("csd-code")
            for one in written(EVENTS[name]).findall("ActiveParticipant")
        }

    assert roles("received") == {"77": "110152", "PACS": "110153"}
    assert roles("sent") == {"77": "110153", "PACS": "110152"}


@pytest.mark.parametrize("code", [c for c in vars(audit).values() if isinstance(c, audit.Code)])
def test_a_code_of_dcm_means_what_the_dictionary_says(code):
    known = {one.value: one.meaning for one in map(codes.DCM.__getattr__, codes.DCM.dir())}
    if code.scheme == "DCM":
        assert known.get(code.value, code.meaning) == code.meaning
    else:
        assert (code.value, code.scheme) == ("2", "RFC-3881")


def test_time_is_told_in_one_zone_whatever_the_clock_has():
    """PS3.15 A.5.2.5; the schema above asks for +00:00."""
    noon_in_tokyo = datetime(2026, 1, 2, 21, 30, tzinfo=timezone(timedelta(hours=9)))

    assert audit.message(EVENTS["started"], ORIGIN, when=noon_in_tokyo) == audit.message(
        EVENTS["started"], ORIGIN, when=WHEN
    )


def test_what_a_peer_says_of_itself_stays_inside_its_attribute():
    hostile = audit.peer('"/><x y="', "10.0.0.5")
    message = written(audit.association_rejected(hostile, "<b>&</b>"))

    assert list(violations(message)) == []
    assert message.findall(".//x") == []


def test_an_event_without_participants_has_the_node_itself():
    message = written(Event(id=audit.APPLICATION_ACTIVITY, action="E"))

    assert [one.get("UserID") for one in message.findall("ActiveParticipant")] == ["77"]
