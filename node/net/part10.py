"""Puts the DICOM file format (PS3.10 7.1) around a data set as it came."""

import struct

from node.implementation import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME


def part10(
    *data_set: bytes, sop_class_uid: str, sop_instance_uid: str, transfer_syntax_uid: str
) -> bytes:
    """Return preamble, file meta information and the data set, which is not looked into.

    It may come in pieces.
    """
    meta = b"".join(
        (
            _element(0x0001, b"OB", b"\x00\x01"),
            _element(0x0002, b"UI", _uid(sop_class_uid)),
            _element(0x0003, b"UI", _uid(sop_instance_uid)),
            _element(0x0010, b"UI", _uid(transfer_syntax_uid)),
            _element(0x0012, b"UI", _uid(IMPLEMENTATION_CLASS_UID)),
            _element(0x0013, b"SH", _padded(IMPLEMENTATION_VERSION_NAME, b" ")),
        )
    )
    group_length = _element(0x0000, b"UL", struct.pack("<I", len(meta)))
    return b"".join((bytes(128), b"DICM", group_length, meta, *data_set))


def _element(element: int, vr: bytes, value: bytes) -> bytes:
    # PS3.5 7.1.2, explicit VR little endian: OB has a length of four bytes after two reserved.
    length = struct.pack("<HI", 0, len(value)) if vr == b"OB" else struct.pack("<H", len(value))
    return struct.pack("<HH", 0x0002, element) + vr + length + value


def _uid(value: str) -> bytes:
    return _padded(value, b"\x00")


def _padded(value: str, pad: bytes) -> bytes:
    encoded = value.encode("ascii")
    return encoded + pad * (len(encoded) % 2)
