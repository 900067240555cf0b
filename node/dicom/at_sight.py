"""The values of a few top-level elements of an instance as it arrives, told without a data set."""

from collections.abc import Mapping

from pydicom.uid import ImplicitVRLittleEndian

from node.dicom.elements import Element, Layout, Layouts, TooFewError, UnsureError, Walk


def values(
    top: bytes, wanted: Mapping[int, bytes], *, size: int, met: Layouts
) -> tuple[str, dict[int, bytes]]:
    """Return the transfer syntax and the values of ``wanted``: tags, each with the VR it must have.

    ``top`` are the first bytes of a file of ``size``; ``met`` were laid out alike and asked for the
    same. What is absent is left out. Nothing beyond the greatest of the tags is read. Raises
    UnsureError, also where the top is too short for it.
    """
    layout = met.like(top) or _walked(top, size, last=max(wanted), met=met)
    found = {}
    for tag, vr in wanted.items():
        element = layout.by_tag.get(tag)
        if element is not None:
            found[tag] = _value(top, element, vr)
    return layout.transfer_syntax_uid, found


def _value(top: bytes, element: Element, wanted: bytes) -> bytes:
    vr, _, start, end = element
    if (vr and vr != wanted) or not start <= end <= len(top):
        raise UnsureError
    return top[start:end]


def _walked(top: bytes, size: int, *, last: int, met: Layouts) -> Layout:
    walk = Walk(top, size=size, last=last)
    try:
        uid, start, by_tag = walk.top()
    except TooFewError as error:
        raise UnsureError from error
    layout = Layout(
        transfer_syntax_uid=uid,
        implicit=uid == ImplicitVRLittleEndian,
        start=start,
        end=0 if walk.beyond is None else walk.beyond[0],
        by_tag=by_tag,
        pixels=None,
        is_common=walk.beyond is not None,
    )
    if walk.beyond is not None:  # else what was found depends on where the file ends
        heads = [(at, begin) for _, at, begin, _ in by_tag.values()]
        met.add(layout, top, sorted((*walk.of_file_meta, *heads, *walk.of_sequences, walk.beyond)))
    return layout
