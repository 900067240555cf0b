"""What is read at sight is what pydicom reads, or is left to pydicom."""

import struct
from io import BytesIO

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import dcmread

from node.dicom import headers
from node.dicom.at_sight import values
from node.dicom.elements import Layouts, UnsureError
from node.dicom.headers import identify
from node.errors import NotUnderstood
from node.net.part10 import part10

CT = "1.2.840.10008.5.1.4.1.1.2"
EXPLICIT, IMPLICIT = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2"
WANTED = {0x00080018: b"UI", 0x0020000E: b"UI"}
UNDEFINED = 0xFFFFFFFF
ITEM, ITEM_END, SEQUENCE_END = (
    struct.pack("<HHL", 0xFFFE, number, length)
    for number, length in ((0xE000, UNDEFINED), (0xE00D, 0), (0xE0DD, 0))
)


def explicit(tag, vr, value):
    head = struct.pack("<HH", tag >> 16, tag & 0xFFFF) + vr
    if vr in {b"SQ", b"OB", b"UN"}:
        return head + b"\0\0" + struct.pack("<L", len(value)) + value
    return head + struct.pack("<H", len(value)) + value


def sequence(tag, content):
    """One of undefined length with one item of undefined length."""
    head = struct.pack("<HH", tag >> 16, tag & 0xFFFF) + b"SQ\0\0" + struct.pack("<L", UNDEFINED)
    return head + ITEM + content + ITEM_END + SEQUENCE_END


def implicit(tag, value):
    return struct.pack("<HHL", tag >> 16, tag & 0xFFFF, len(value)) + value


UIDS = (
    explicit(0x00080016, b"UI", CT.encode() + b"\0"),
    explicit(0x00080018, b"UI", b"1.2.3.4\0"),
    explicit(0x00080060, b"CS", b"CT"),
    explicit(0x0020000D, b"UI", b"1.2.3\0"),
    explicit(0x0020000E, b"UI", b"1.2.3.1\0"),
)
INNER = explicit(0x00080018, b"UI", b"9.9\0")
# A private element of undefined length: without a VR nobody can tell what is in it.
UNKNOWN_IN_IMPLICIT = (
    struct.pack("<HHL", 0x0009, 0x1015, UNDEFINED)
    + ITEM
    + implicit(0x00080018, b"9.9\0")
    + ITEM_END
    + SEQUENCE_END
)


def instance(*content, syntax=EXPLICIT):
    return part10(
        *content, sop_class_uid=CT, sop_instance_uid="1.2.3.4", transfer_syntax_uid=syntax
    )


def by_pydicom(content):
    """What ``identify`` gives where nothing is read at sight, as for a file without a preamble."""
    try:
        return headers.identify_stream(BytesIO(content))
    except NotUnderstood:
        return None


def at_sight(content, met=None):
    """What is told of it, where instances laid out as ``met`` came before."""
    met = Layouts() if met is None else met
    try:
        return values(content, WANTED, size=len(content), met=met)[1]
    except UnsureError:
        return None


def test_plain_elements_are_read_at_sight():
    assert at_sight(instance(*UIDS)) == {0x00080018: b"1.2.3.4\0", 0x0020000E: b"1.2.3.1\0"}


def test_what_lies_in_sequences_is_no_identifier():
    nested = sequence(0x00081115, sequence(0x00081199, INNER) + explicit(0x0020000E, b"UI", b"9.1"))
    of_known_length = explicit(0x00081140, b"SQ", struct.pack("<HHL", 0xFFFE, 0xE000, 12) + INNER)
    content = instance(*UIDS[:3], nested, of_known_length, *UIDS[3:])

    assert at_sight(content) == at_sight(instance(*UIDS))
    assert identify(content) == by_pydicom(content)


def test_a_private_sequence_is_passed_over_as_pydicom_does():
    content = instance(*UIDS[:3], sequence(0x00091115, INNER), *UIDS[3:])

    assert at_sight(content) == at_sight(instance(*UIDS))
    assert identify(content) == by_pydicom(content)


def test_an_instance_laid_out_as_the_last_one_has_its_own_values():
    met = Layouts()
    for uid in (b"1.2.3.4\0", b"9.8.7.6\0", b"1.2.3.456789"):
        content = instance(UIDS[0], explicit(0x00080018, b"UI", uid), *UIDS[2:])
        assert at_sight(content, met)[0x00080018] == uid


def test_what_depends_on_where_a_file_ends_is_found_anew():
    met = Layouts()
    short = instance(*UIDS)
    at_sight(short, met)

    assert at_sight(short + b"rubbish", met) is None
    assert at_sight(short, met) == at_sight(short)


def test_implicit_vr_is_read_at_sight():
    content = (
        implicit(0x00080018, b"1.2.3.4\0"),
        struct.pack("<HHL", 0x0008, 0x1115, UNDEFINED)
        + ITEM
        + implicit(0x00080018, b"9.9\0")
        + ITEM_END
        + SEQUENCE_END,
        implicit(0x0020000E, b"1.2.3.1\0"),
    )

    assert at_sight(instance(*content, syntax=IMPLICIT)) == at_sight(instance(*UIDS))


def test_what_follows_the_last_identifier_is_not_looked_at():
    assert at_sight(instance(*UIDS, b"\x20\0\x11\0IS\xff\xffrubbish")) == at_sight(instance(*UIDS))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        bytes(200),
        instance(*reversed(UIDS)),
        instance(UIDS[0], UIDS[0]),
        instance(explicit(0x00080018, b"LO", b"1.2.3.4\0")),
        instance(explicit(0x00080018, b"QQ", b"1.2.3.4\0")),
        instance(*UIDS)[:-3],
        instance(UIDS[0], b"\x08\0\x18\0UI"),
        instance(UIDS[0], sequence(0x00081115, INNER)[:-8]),
        instance(implicit(0x00090010, b"MAKER "), UNKNOWN_IN_IMPLICIT, syntax=IMPLICIT),
        instance(*UIDS, syntax="1.2.840.10008.1.2.2"),
        instance(*UIDS, syntax="1.2.840.10008.1.2.1.99"),
        instance(*UIDS, syntax=IMPLICIT),
    ],
)
def test_what_is_odd_is_left_to_pydicom(content):
    assert at_sight(content) is None


@pytest.mark.parametrize("uid", [b"1.2.3.4 ", b"1.2 ", b"12", b"", b"1.2\\1.3", b"1." * 40])
def test_a_value_that_is_not_plain_is_what_pydicom_makes_of_it(uid):
    content = instance(UIDS[0], explicit(0x00080018, b"UI", uid), *UIDS[2:])

    try:
        found = identify(content)
    except NotUnderstood:
        found = None

    assert found == by_pydicom(content)


@pytest.mark.filterwarnings("ignore::UserWarning")  # what pydicom says of odd files
def test_both_agree_on_every_file_of_the_test_data(test_data):
    agreed = 0
    for path in sorted(test_data.rglob("*")):
        if not path.is_file() or path.stat().st_size > 20_000_000:
            continue
        content = path.read_bytes()
        try:
            found = identify(content)
        except NotUnderstood:
            found = None
        assert found == by_pydicom(content), path.name
        agreed += found is not None and at_sight(content) is not None

    assert agreed > 300


@pytest.mark.filterwarnings("ignore::UserWarning")  # what pydicom says of odd files
@settings(max_examples=200)
@given(data=st.data())
def test_both_agree_whatever_byte_is_changed(data):
    content = bytearray(
        instance(
            *UIDS[:2], sequence(0x00081115, INNER), *UIDS[2:], explicit(0x7FE00010, b"OB", b"\0")
        )
    )
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(128, len(content) - 1))] = data.draw(st.integers(0, 255))

    try:
        found = identify(bytes(content))
    except NotUnderstood:
        found = None

    assert found == by_pydicom(bytes(content))


def test_pydicom_reads_what_these_tests_write():
    read = dcmread(BytesIO(instance(*UIDS[:3], sequence(0x00081115, INNER), *UIDS[3:])))

    assert read.SOPInstanceUID == "1.2.3.4"
    assert read.ReferencedSeriesSequence[0].SOPInstanceUID == "9.9"
