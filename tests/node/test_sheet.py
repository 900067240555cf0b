from node.sheet import BLOCK, MARGIN, Sheet


def put(sheet, *pieces):
    sheet.clear()
    for piece in pieces:
        sheet.add(piece)
    return bytes(sheet.content)


def test_pieces_follow_each_other():
    assert put(Sheet(), b"one", memoryview(b"two"), b"", b"three") == b"onetwothree"


def test_one_instance_follows_the_other():
    sheet = Sheet()

    assert put(sheet, b"longer than the next") != b""
    assert put(sheet, b"next") == b"next"
    assert put(sheet) == b""


def test_what_is_longer_than_its_memory_is_kept_whole():
    sheet = Sheet()
    pieces = [bytes([n]) * 700_000 for n in range(10)]

    assert put(sheet, *pieces) == b"".join(pieces)
    assert put(sheet, b"a small one after it") == b"a small one after it"


def test_what_is_written_is_whole_blocks_with_nothing_of_the_last_instance():
    sheet = Sheet()
    put(sheet, b"x" * 3 * BLOCK)
    put(sheet, b"next")

    assert sheet.laid(b"head") == b"head".ljust(MARGIN, b"\0") + b"next".ljust(
        BLOCK - MARGIN, b"\0"
    )
    assert sheet.content == b"next"
