"""Puts the DICOM file format (PS3.10 7.1) around a data set as it came."""

import struct
from functools import lru_cache

from node.implementation import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME


def part10(
    *data_set: bytes, sop_class_uid: str, sop_instance_uid: str, transfer_syntax_uid: str
) -> bytes:
    """Return preamble, file meta information and the data set, which is not looked into.

    It may come in pieces.
    """
    head = file_head(
        sop_class_uid=sop_class_uid,
        sop_instance_uid=sop_instance_uid,
        transfer_syntax_uid=transfer_syntax_uid,
    )
    return b"".join((head, *data_set))


def file_head(*, sop_class_uid: str, sop_instance_uid: str, transfer_syntax_uid: str) -> bytes:
    """Return preamble and file meta information, which come before a data set in a file."""
    before, after = _around(sop_class_uid, transfer_syntax_uid)
    instance = _element(0x0003, b"UI", _uid(sop_instance_uid))
    size = len(before) + len(instance) + len(after)
    group_length = _element(0x0000, b"UL", struct.pack("<I", size))
    return b"".join((bytes(128), b"DICM", group_length, before, instance, after))


@lru_cache(maxsize=256)
def _around(sop_class_uid: str, transfer_syntax_uid: str) -> tuple[bytes, bytes]:
    """Return what stands before and after the SOP Instance UID: the same for a whole series."""
    before = (_element(0x0001, b"OB", b"\x00\x01"), _element(0x0002, b"UI", _uid(sop_class_uid)))
    after = (
        _element(0x0010, b"UI", _uid(transfer_syntax_uid)),
        _element(0x0012, b"UI", _uid(IMPLEMENTATION_CLASS_UID)),
        _element(0x0013, b"SH", _padded(IMPLEMENTATION_VERSION_NAME, b" ")),
    )
    return b"".join(before), b"".join(after)


def _element(element: int, vr: bytes, value: bytes) -> bytes:
    # PS3.5 7.1.2, explicit VR little endian: OB has a length of four bytes after two reserved.
    length = struct.pack("<HI", 0, len(value)) if vr == b"OB" else struct.pack("<H", len(value))
    return struct.pack("<HH", 0x0002, element) + vr + length + value


def _uid(value: str) -> bytes:
    return _padded(value, b"\x00")


def _padded(value: str, pad: bytes) -> bytes:
    encoded = value.encode("ascii")
    return encoded + pad * (len(encoded) % 2)
