"""Reads and writes the command sets of C-STORE and C-ECHO (PS3.7 9.3), in implicit VR."""

import struct
from dataclasses import dataclass

C_STORE_RQ = 0x0001
C_ECHO_RQ = 0x0030
IS_RESPONSE = 0x8000
NO_DATA_SET = 0x0101
UID_LENGTH = 64
ERROR_COMMENT_LENGTH = 64  # PS3.7 C.5: Error Comment has VR LO

_AFFECTED_SOP_CLASS_UID = 0x00000002
_COMMAND_FIELD = 0x00000100
_MESSAGE_ID = 0x00000110
_MESSAGE_ID_RESPONDED_TO = 0x00000120
_DATA_SET_TYPE = 0x00000800
_STATUS = 0x00000900
_ERROR_COMMENT = 0x00000902
_AFFECTED_SOP_INSTANCE_UID = 0x00001000
_HEAD = struct.Struct("<HHL")


class Malformed(Exception):
    """The peer breaks the protocol; the message says how."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """A request of a peer."""

    command: int
    message_id: int
    sop_class_uid: str
    sop_instance_uid: str
    """``""`` in C-ECHO."""
    has_data_set: bool


def read(command_set: bytes) -> Request:
    """Read a C-STORE-RQ or a C-ECHO-RQ; raise Malformed where it is neither."""
    said = elements(command_set)
    command = _number(said, _COMMAND_FIELD)
    if command not in {C_STORE_RQ, C_ECHO_RQ}:
        raise Malformed(f"asked for 0x{command:04X} on an association for storage")
    storing = command == C_STORE_RQ
    request = Request(
        command=command,
        message_id=_number(said, _MESSAGE_ID),
        sop_class_uid=_uid(said, _AFFECTED_SOP_CLASS_UID),
        sop_instance_uid=_uid(said, _AFFECTED_SOP_INSTANCE_UID) if storing else "",
        has_data_set=_number(said, _DATA_SET_TYPE) != NO_DATA_SET,
    )
    if request.has_data_set and not storing:
        raise Malformed("announced a data set with a C-ECHO")
    return request


def answer(request: Request, status: int, comment: str = "") -> bytes:
    """Write the response to a request."""
    comment = comment[:ERROR_COMMENT_LENGTH].encode("ascii", "replace").decode("ascii")
    told = b"".join(
        (
            _text(_AFFECTED_SOP_CLASS_UID, request.sop_class_uid, "\0"),
            _us(_COMMAND_FIELD, request.command | IS_RESPONSE),
            _us(_MESSAGE_ID_RESPONDED_TO, request.message_id),
            _us(_DATA_SET_TYPE, NO_DATA_SET),
            _us(_STATUS, status),
            _text(_ERROR_COMMENT, comment, " "),
            _text(_AFFECTED_SOP_INSTANCE_UID, request.sop_instance_uid, "\0"),
        )
    )
    return _HEAD.pack(0, 0, 4) + struct.pack("<L", len(told)) + told


def elements(command_set: bytes) -> dict[int, bytes]:
    """Return the values of a command set by the numbers of their elements, in its order."""
    found: dict[int, bytes] = {}
    at, end = 0, len(command_set)
    while at < end:
        if at + _HEAD.size > end:
            raise Malformed("sent a command that ends within an element")
        group, element, length = _HEAD.unpack_from(command_set, at)
        at += _HEAD.size
        if group != 0 or length > end - at:
            raise Malformed("sent a command that cannot be read")
        found[element] = command_set[at : at + length]
        at += length
    return found


def _number(elements: dict[int, bytes], tag: int) -> int:
    value = elements.get(tag, b"")
    if len(value) != 2:
        raise Malformed(f"sent a command without (0000,{tag:04X})")
    return int.from_bytes(value, "little")


def _uid(elements: dict[int, bytes], tag: int) -> str:
    value = elements.get(tag, b"").rstrip(b"\0 ")
    if not 0 < len(value) <= UID_LENGTH or not value.isascii():
        raise Malformed(f"sent a command without a UID in (0000,{tag:04X})")
    return value.decode("ascii")


def _us(tag: int, value: int) -> bytes:
    return _HEAD.pack(0, tag, 2) + struct.pack("<H", value)


def _text(tag: int, value: str, pad: str) -> bytes:
    """Write a text; of an empty one, nothing."""
    if not value:
        return b""
    encoded = (value + pad * (len(value) % 2)).encode("ascii")
    return _HEAD.pack(0, tag, len(encoded)) + encoded
