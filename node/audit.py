"""What is worth an audit message, and how DICOM writes it (PS3.15 A.5).

Messages name studies; no name and, unless the settings say so, no Patient ID stands in them.
"""

import getpass
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from xml.etree import ElementTree as ET

PATIENT_WITHHELD = "withheld"
"""Stands for the Patient ID, which A.5.3 requires, where the settings keep it out."""


class Outcome(StrEnum):
    """EventOutcomeIndicator (A.5.1)."""

    SUCCESS = "0"
    MINOR_FAILURE = "4"
    SERIOUS_FAILURE = "8"


@dataclass(frozen=True, slots=True)
class Code:
    """A coded value: of DCM (PS3.16 annex D), where nothing else is said."""

    value: str
    meaning: str
    scheme: str = "DCM"


APPLICATION_ACTIVITY = Code("110100", "Application Activity")
BEGIN_TRANSFERRING = Code("110102", "Begin Transferring DICOM Instances")
INSTANCES_ACCESSED = Code("110103", "DICOM Instances Accessed")
INSTANCES_TRANSFERRED = Code("110104", "DICOM Instances Transferred")
STUDY_DELETED = Code("110105", "DICOM Study Deleted")
EXPORT = Code("110106", "Export")
SECURITY_ALERT = Code("110113", "Security Alert")
APPLICATION_START = Code("110120", "Application Start")
APPLICATION_STOP = Code("110121", "Application Stop")
NODE_AUTHENTICATION = Code("110126", "Node Authentication")
SOFTWARE_CONFIGURATION = Code("110131", "Software Configuration")
APPLICATION = Code("110150", "Application")
APPLICATION_LAUNCHER = Code("110151", "Application Launcher")
DESTINATION = Code("110152", "Destination Role ID")
SOURCE = Code("110153", "Source Role ID")
DESTINATION_MEDIA = Code("110154", "Destination Media")
STUDY_UID = Code("110180", "Study Instance UID")
PATIENT_NUMBER = Code("2", "Patient Number", "RFC-3881")
NODE_ID = Code("110182", "Node ID")


@dataclass(frozen=True, kw_only=True, slots=True)
class Participant:
    """Who took part: a person, an application entity or the node itself."""

    user_id: str
    role: Code | None = None
    ae_title: str = ""
    address: str = ""
    is_requestor: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Study:
    """What it was about: one study, and how many instances of which SOP classes."""

    study_instance_uid: str
    counts: Mapping[str, int] = field(default_factory=dict)
    life_cycle: str = ""
    """ParticipantObjectDataLifeCycle (A.5.1.2.3)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Event:
    """One thing that happened; when and where is added by who writes it down."""

    id: Code
    action: str
    outcome: Outcome = Outcome.SUCCESS
    type: Code | None = None
    description: str = ""
    participants: tuple[Participant, ...] = ()
    """Beside the node itself."""
    own_role: Code | None = None
    node_requested: bool = False
    study: Study | None = None
    alerted: str = ""
    """The address that a security alert is about."""


Record = Callable[[Event], None]
"""Takes an event for the audit trail; never waits and never fails."""


def ignore(_event: Event) -> None:
    """Record nothing."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Origin:
    """Whose messages these are."""

    source_id: str
    site: str
    ae_title: str
    process_id: int


def peer(ae_title: str, address: str, role: Code | None = None) -> Participant:
    """Return an application entity as a participant."""
    return Participant(user_id=ae_title or address, role=role, ae_title=ae_title, address=address)


def operator() -> Participant:
    """Return who typed a command, as the operating system calls the account."""
    try:
        name = getpass.getuser()
    except (KeyError, OSError):  # an account without a name, as containers have
        name = "unknown"
    return Participant(user_id=name, is_requestor=True)


def application_started() -> Event:
    """Return that the node runs."""
    return Event(id=APPLICATION_ACTIVITY, type=APPLICATION_START, action="E", own_role=APPLICATION)


def application_stopped() -> Event:
    """Return that the node ends as it should."""
    return Event(id=APPLICATION_ACTIVITY, type=APPLICATION_STOP, action="E", own_role=APPLICATION)


def settings_changed(before: str, after: str) -> Event:
    """Return that the node starts with other settings than the last time."""
    return Event(
        id=SECURITY_ALERT,
        type=SOFTWARE_CONFIGURATION,
        action="E",
        description=f"settings {before} became {after}",
    )


def association_opened(who: Participant) -> Event:
    """Return that a peer was taken (A.5.3.11: success is an informative alert)."""
    return Event(
        id=SECURITY_ALERT,
        type=NODE_AUTHENTICATION,
        action="E",
        participants=(who,),
        description="association accepted",
        alerted=who.address,
    )


def association_rejected(who: Participant, why: str) -> Event:
    """Return that a peer was not taken."""
    return Event(
        id=SECURITY_ALERT,
        type=NODE_AUTHENTICATION,
        action="E",
        outcome=Outcome.MINOR_FAILURE,
        participants=(who,),
        description=f"association rejected: {why}",
        alerted=who.address,
    )


def connection_refused(address: str, why: str) -> Event:
    """Return that a connection failed before anybody gave an AE title."""
    return Event(
        id=SECURITY_ALERT,
        type=NODE_AUTHENTICATION,
        action="E",
        outcome=Outcome.MINOR_FAILURE,
        participants=(peer("", address),),
        description=f"no TLS: {why}",
        alerted=address,
    )


def instances_received(who: Participant, study: Study) -> Event:
    """Return what of one study an association brought."""
    return Event(
        id=INSTANCES_TRANSFERRED,
        action="C",
        participants=(peer(who.ae_title, who.address, SOURCE),),
        own_role=DESTINATION,
        study=study,
    )


def sending(to: Participant, study: Study) -> Event:
    """Return that results of one study are about to be sent."""
    return Event(
        id=BEGIN_TRANSFERRING,
        action="E",
        participants=(peer(to.ae_title, to.address, DESTINATION),),
        own_role=SOURCE,
        node_requested=True,
        study=study,
    )


def instances_sent(to: Participant, study: Study, *, failure: str = "") -> Event:
    """Return which results of one study a peer took, or (``failure``) did not take."""
    return Event(
        id=INSTANCES_TRANSFERRED,
        action="C",
        outcome=Outcome.MINOR_FAILURE if failure else Outcome.SUCCESS,
        description=failure,
        participants=(peer(to.ae_title, to.address, DESTINATION),),
        own_role=SOURCE,
        node_requested=True,
        study=study,
    )


def instances_created(study: Study) -> Event:
    """Return that results were made."""
    return Event(id=INSTANCES_ACCESSED, action="C", node_requested=True, study=study)


def study_viewed(who: Participant, study: Study) -> Event:
    """Return that an operator looked at what is known of a study."""
    return Event(id=INSTANCES_ACCESSED, action="R", participants=(who,), study=study)


def study_exported(who: Participant, study: Study) -> Event:
    """Return that an operator wrote a study out of the store."""
    return Event(
        id=EXPORT,
        action="R",
        participants=(who, Participant(user_id="folder", role=DESTINATION_MEDIA)),
        own_role=SOURCE,
        study=study,
    )


def study_deleted(study: Study, *, who: Participant | None = None, why: str = "") -> Event:
    """Return that a study was deleted: by an operator, or by the node's own rules."""
    return Event(
        id=STUDY_DELETED,
        action="D",
        description=why,
        participants=() if who is None else (who,),
        node_requested=who is None,
        study=study,
    )


def message(event: Event, origin: Origin, *, when: datetime, patient_id: str = "") -> str:
    """Write one event as an AuditMessage, in the order of the schema of A.5.1."""
    root = ET.Element("AuditMessage")
    identification = ET.SubElement(
        root,
        "EventIdentification",
        EventActionCode=event.action,
        EventDateTime=when.astimezone(UTC).isoformat(timespec="milliseconds"),
        EventOutcomeIndicator=str(event.outcome),
    )
    _code(identification, "EventID", event.id)
    if event.type is not None:
        _code(identification, "EventTypeCode", event.type)
    if event.description:
        described = ET.SubElement(identification, "EventOutcomeDescription")
        described.text = event.description
    for participant in (_itself(event, origin), *event.participants):
        _participant(root, participant)
    source = ET.SubElement(
        root, "AuditSourceIdentification", _given(AuditEnterpriseSiteID=origin.site)
    )
    source.set("AuditSourceID", origin.source_id)
    ET.SubElement(source, "AuditSourceTypeCode", {"csd-code": "4"})
    if event.study is not None:
        _study(root, event.study)
        _patient(root, patient_id or PATIENT_WITHHELD)
    if event.alerted:
        _alerted(root, event.alerted)
    return ET.tostring(root, encoding="unicode")


def _itself(event: Event, origin: Origin) -> Participant:
    return Participant(
        user_id=str(origin.process_id),
        role=event.own_role,
        ae_title=origin.ae_title,
        address=socket.gethostname(),
        is_requestor=event.node_requested,
    )


def _participant(root: ET.Element, who: Participant) -> None:
    element = ET.SubElement(
        root,
        "ActiveParticipant",
        _given(
            UserID=who.user_id,
            UserIsRequestor="true" if who.is_requestor else "false",
            AlternativeUserID=f"AETITLES={who.ae_title}" if who.ae_title else "",
            NetworkAccessPointID=who.address,
            NetworkAccessPointTypeCode=_access_point(who.address),
        ),
    )
    if who.role is not None:
        _code(element, "RoleIDCode", who.role)


def _study(root: ET.Element, study: Study) -> None:
    element = ET.SubElement(
        root,
        "ParticipantObjectIdentification",
        _given(
            ParticipantObjectID=study.study_instance_uid,
            ParticipantObjectTypeCode="2",
            ParticipantObjectTypeCodeRole="3",
            ParticipantObjectDataLifeCycle=study.life_cycle,
        ),
    )
    _code(element, "ParticipantObjectIDTypeCode", STUDY_UID)
    ET.SubElement(element, "ParticipantObjectName")
    description = ET.SubElement(element, "ParticipantObjectDescription")
    for sop_class_uid, count in sorted(study.counts.items()):
        ET.SubElement(description, "SOPClass", UID=sop_class_uid, NumberOfInstances=str(count))


def _patient(root: ET.Element, patient_id: str) -> None:
    element = ET.SubElement(
        root,
        "ParticipantObjectIdentification",
        ParticipantObjectID=patient_id,
        ParticipantObjectTypeCode="1",
        ParticipantObjectTypeCodeRole="1",
    )
    _code(element, "ParticipantObjectIDTypeCode", PATIENT_NUMBER)
    ET.SubElement(element, "ParticipantObjectName")


def _alerted(root: ET.Element, what: str) -> None:
    element = ET.SubElement(
        root,
        "ParticipantObjectIdentification",
        ParticipantObjectID=what,
        ParticipantObjectTypeCode="2",
        ParticipantObjectTypeCodeRole="13",
    )
    _code(element, "ParticipantObjectIDTypeCode", NODE_ID)
    ET.SubElement(element, "ParticipantObjectName")


def _code(parent: ET.Element, name: str, code: Code) -> None:
    ET.SubElement(
        parent,
        name,
        {"csd-code": code.value, "codeSystemName": code.scheme, "originalText": code.meaning},
    )


def _access_point(address: str) -> str:
    """1 for a machine's name, 2 for an address (A.5.1)."""
    if not address:
        return ""
    is_address = ":" in address or address.replace(".", "").isdigit()
    return "2" if is_address else "1"


def _given(**attributes: str) -> dict[str, str]:
    return {name: value for name, value in attributes.items() if value}
