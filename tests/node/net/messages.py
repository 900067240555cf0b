"""Messages of an association, byte by byte (PS3.7 9.3, PS3.8 9.3)."""

from node.net import command

CT = "1.2.840.10008.5.1.4.1.1.2"
P_DATA = 0x04
COMMAND, LAST = 1, 2
DATA_SET = bytes(range(251))


def element(tag, value):
    return b"\0\0" + tag.to_bytes(2, "little") + len(value).to_bytes(4, "little") + value


def store_request(uid="1.2.3.4", *, message_id=7, data_set_type=0):
    """A C-STORE-RQ as PS3.7 9.3.1.1 lists it."""
    told = (
        element(0x0002, CT.encode() + b"\0")
        + element(0x0100, b"\x01\0")
        + element(0x0110, message_id.to_bytes(2, "little"))
        + element(0x0700, b"\0\0")
        + element(0x0800, data_set_type.to_bytes(2, "little"))
        + element(0x1000, uid.encode() + b"\0" * (len(uid) % 2))
    )
    return element(0x0000, len(told).to_bytes(4, "little")) + told


def item(control, fragment, context=3):
    return (len(fragment) + 2).to_bytes(4, "big") + bytes([context, control]) + fragment


def pdu(*items, kind=P_DATA):
    body = b"".join(items)
    return bytes([kind, 0]) + len(body).to_bytes(4, "big") + body


def answered(read_pdu, connection):
    """The elements of the next response, by their tags."""
    content = read_pdu(connection)
    assert content[0] == P_DATA
    return command.elements(content[12:])
