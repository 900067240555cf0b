"""Conversations of a peer with the listener, PDU by PDU, and what damage does to them."""

import struct
from collections.abc import Sequence
from functools import cache
from random import Random

from pynetdicom import AE
from pynetdicom.pdu import A_ASSOCIATE_RQ
from pynetdicom.pdu_primitives import (
    A_ASSOCIATE,
    AsynchronousOperationsWindowNegotiation,
    MaximumLengthNotification,
    SCP_SCU_RoleSelectionNegotiation,
    SOPClassExtendedNegotiation,
    UserIdentityNegotiation,
)
from pynetdicom.pdu_primitives import ImplementationClassUIDNotification as ClassUid
from pynetdicom.presentation import build_context

from tests.fuzz import seeds
from tests.fuzz.mutation import damaged

VERIFICATION = "1.2.840.10008.1.1"
PUSH_MODEL = "1.2.840.10008.1.20.1"
CT = "1.2.840.10008.5.1.4.1.1.2"
PROPOSED = (VERIFICATION, CT, PUSH_MODEL)
ABORT = b"\x07\0\0\0\0\4\0\0\0\0"
RELEASE = b"\x05\0\0\0\0\4\0\0\0\0"


def pdu(kind: int, body: bytes, length: int | None = None) -> bytes:
    """Return one PDU, whose length may be a lie."""
    return bytes([kind, 0]) + struct.pack(">I", len(body) if length is None else length) + body


def pdv(control: int, fragment: bytes, *, context: int = 3, length: int | None = None) -> bytes:
    """Return one item of a P-DATA-TF."""
    stated = len(fragment) + 2 if length is None else length
    return struct.pack(">IBB", stated & 0xFFFFFFFF, context, control) + fragment


def command(field: int, uid: str = CT, *, with_data: bool, **more: bytes) -> bytes:
    """Return a command set in implicit VR little endian; ``more`` holds elements by their tag."""
    elements = {
        0x0002: uid.encode() + b"\0" * (len(uid) % 2),
        0x0100: struct.pack("<H", field),
        0x0110: b"\1\0",
        0x0700: b"\0\0",
        0x0800: b"\0\0" if with_data else b"\1\1",
        0x1000: b"1.2.3.3.2\0",
        **{int(tag, 16): value for tag, value in more.items()},
    }
    body = b"".join(struct.pack("<HHI", 0, t, len(v)) + v for t, v in sorted(elements.items()))
    return struct.pack("<HHII", 0, 0, 4, len(body)) + body


@cache
def request(*, plain: bool = False) -> bytes:
    """Return an A-ASSOCIATE-RQ with every kind of item in it, or with what storage needs."""
    asked = A_ASSOCIATE()
    asked.application_context_name = "1.2.840.10008.3.1.1.1"
    asked.calling_ae_title, asked.called_ae_title = "FUZZ", "PETCTNODE"
    longest, implementation = MaximumLengthNotification(), ClassUid()
    longest.maximum_length_received = 16384
    implementation.implementation_class_uid = AE().implementation_class_uid
    window, role = AsynchronousOperationsWindowNegotiation(), SCP_SCU_RoleSelectionNegotiation()
    window.maximum_number_operations_invoked = 3
    role.sop_class_uid, role.scu_role, role.scp_role = PUSH_MODEL, True, True
    extended, who = SOPClassExtendedNegotiation(), UserIdentityNegotiation()
    extended.sop_class_uid, extended.service_class_application_information = CT, b"\2\0\0\0\1\0"
    who.user_identity_type, who.primary_field, who.secondary_field = 2, b"user", b"word"
    more = [] if plain else [window, role, extended, who]
    asked.user_information = [longest, implementation, *more]
    contexts = [build_context(VERIFICATION), build_context(CT, "1.2.840.10008.1.2.1")]
    contexts += [] if plain else [build_context(PUSH_MODEL)]
    for number, context in enumerate(contexts):
        context.context_id = 2 * number + 1
    asked.presentation_context_definition_list = contexts
    made = A_ASSOCIATE_RQ()
    made.from_primitive(asked)
    return bytes(made.encode())


@cache
def conversations() -> dict[str, bytes]:
    """Return whole associations, each as the bytes that a peer sends."""
    echo = pdu(4, pdv(3, command(0x30, VERIFICATION, with_data=False), context=1))
    plane = seeds.split(seeds.images()["ct"])[1]
    store = pdu(4, pdv(3, command(0x01, with_data=True)))
    parts = [plane[at : at + 200] for at in range(0, len(plane), 200)]
    fragments = [pdu(4, pdv(0, part)) for part in parts[:-1]] + [pdu(4, pdv(2, parts[-1]))]
    together = pdu(4, pdv(3, command(0x01, with_data=True)) + pdv(2, plane))
    asked = {"0003": PUSH_MODEL.encode(), "1001": b"1.2.840.10008.1.20.1.1", "1008": b"\1\0"}
    commit = pdu(4, pdv(3, command(0x130, PUSH_MODEL, with_data=True, **asked), context=5))
    commit += pdu(4, pdv(2, plane[:80], context=5))
    event = {"1002": b"\2\0"}
    told = pdu(4, pdv(3, command(0x100, PUSH_MODEL, with_data=True, **event), context=5))
    told += pdu(4, pdv(2, plane[:80], context=5))
    cancel = pdu(4, pdv(3, command(0xFFF, with_data=False, **{"0120": b"\1\0"})))
    others = b"".join(
        pdu(4, pdv(3, command(field, with_data=False)))
        for field in (0x20, 0x10, 0x21, 0x8001, 0x8030, 0x110, 0x140, 0x150)
    )
    return {
        "echo": request() + echo * 5 + RELEASE,
        "store": request() + store + b"".join(fragments) + together * 3 + RELEASE,
        "commitment": request() + commit + told + RELEASE,
        "others": request() + cancel + others + ABORT,
        "refused": pdu(3, b"\0\1\1\1") + pdu(6, b"\0\0\0\0") + request() + request(),
        "accepted": b"\2" + request()[1:] + echo,
    }


@cache
def storing() -> dict[str, bytes]:
    """Return the conversations that storage and verification alone need."""
    every = conversations()
    return {
        name: request(plain=True) + every[name][len(request()) :]
        for name in ("echo", "store", "others")
    }


def split(stream: bytes) -> list[bytes]:
    """Return the PDUs of a stream as their lengths tell; what is left over comes last."""
    found, at = [], 0
    while at + 6 <= len(stream):
        end = at + 6 + int.from_bytes(stream[at + 2 : at + 6], "big")
        found.append(stream[at:end])
        at = end
    return found + ([stream[at:]] if at < len(stream) else [])


def changed(stream: bytes, chance: Random) -> bytes:
    """Damage a conversation: one PDU or several, their order, their lengths, its end."""
    parts = split(stream)
    for _ in range(chance.choice((1, 1, 2, 3))):
        # The request goes first: without one nothing else is looked at.
        first = 0 if chance.random() < 0.25 else min(1, len(parts) - 1)
        at = chance.randrange(first, len(parts))
        parts[at : at + 1] = chance.choice(_CHANGES)(parts[at], parts, chance)
        if not parts:
            return b""
    return b"".join(parts)[: chance.choice((None, None, None, chance.randint(1, len(stream))))]


Parts = Sequence[bytes]


def _whole(part: bytes, _parts: Parts, chance: Random) -> Parts:
    """Damage what a PDU holds, and state its length as it is then."""
    body = damaged(part[6:], chance)
    return [pdu(part[0] if part else 4, body)]


def _items(part: bytes, _parts: Parts, chance: Random) -> Parts:
    """Damage the value of one PDV alone, so that the command or data set in it is wrong."""
    if len(part) < 12:
        return [damaged(part, chance)]
    fragment = damaged(part[12:], chance)
    context = part[10] if chance.random() < 0.8 else chance.choice((0, 1, 2, 7, 255))
    control = part[11] if chance.random() < 0.8 else chance.randrange(256)
    lie = None if chance.random() < 0.8 else chance.choice((0, 1, 2, 2**31, 2**32 - 1, len(part)))
    return [pdu(4, pdv(control, fragment, context=context, length=lie))]


def _lie(part: bytes, _parts: Parts, chance: Random) -> Parts:
    lengths = (0, 1, 4, len(part), 2**16, 2**20, 2**31, 2**32 - 1)
    return [pdu(part[0] if part else 4, part[6:], chance.choice(lengths))]


def _kind(part: bytes, _parts: Parts, chance: Random) -> Parts:
    return [bytes([chance.randrange(10)]) + part[1:]]


def _again(part: bytes, parts: Parts, chance: Random) -> Parts:
    return [part, chance.choice(parts), part]


def _gone(_part: bytes, _parts: Parts, _chance: Random) -> Parts:
    return []


def _mixed(part: bytes, parts: Parts, chance: Random) -> Parts:
    """Put another PDU between two halves of a message."""
    other = chance.choice(parts)
    body = part[6:]
    return [pdu(4, body[: len(body) // 2]), other, pdu(4, body[len(body) // 2 :])]


def _end(part: bytes, _parts: Parts, chance: Random) -> Parts:
    return [part, chance.choice((ABORT, RELEASE, pdu(7, b""), pdu(5, b"\0" * 9)))]


_CHANGES = (_whole, _whole, _items, _items, _items, _lie, _kind, _again, _gone, _mixed, _end)
