"""Files that say more of themselves than they hold cost no more memory than they may."""

import struct
import tracemalloc
import zlib
from io import BytesIO

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    JPEGLSLossless,
    RLELossless,
)

from node.dicom import reading, results
from node.dicom.headers import identify, identify_file
from node.dicom.provenance import Equipment
from node.dicom.reasons import unusable
from node.dicom.series import choose
from node.dicom.volumes import load
from node.errors import UnusableStudy
from tests.made_study import WHEN
from tests.node.dicom.minimal import ct_plane, pet_plane, save, series

MIB = 2**20
UID_LE = b"1.2.840.10008.1.2.1\0"
UID_DEFLATED = b"1.2.840.10008.1.2.1.99"


def part10(ds, syntax=ExplicitVRLittleEndian):
    ds.file_meta.TransferSyntaxUID = syntax
    file = BytesIO()
    ds.save_as(file, enforce_file_format=True)
    return file.getvalue()


def bomb(size, *, where):
    """A deflated plane in which ``size`` zeros stand before or as the pixels: a thousandth of it.

    The zeros never exist in one piece.
    """
    ds = pet_plane()
    ds.Rows = ds.Columns = 32768
    del ds.PixelData
    head = part10(ds, DeflatedExplicitVRLittleEndian)
    cut = head.index(UID_DEFLATED) + len(UID_DEFLATED)
    meta_end = 132 + 12 + struct.unpack("<I", head[140:144])[0]
    assert cut <= meta_end
    plain = zlib.decompress(head[meta_end:], -zlib.MAX_WBITS)
    tag = {"before the pixels": (0x0029, 0x1000), "as the pixels": (0x7FE0, 0x0010)}[where]
    deflating = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    pieces = [deflating.compress(plain + struct.pack("<HH2sHI", *tag, b"OB", 0, size))]
    pieces.append(deflating.flush(zlib.Z_FULL_FLUSH))
    # After a full flush nothing refers back: a piece can be repeated as it is.
    zeros = deflating.compress(bytes(MIB)) + deflating.flush(zlib.Z_FULL_FLUSH)
    return head[:meta_end] + b"".join([*pieces, zeros * (size // MIB), deflating.flush()])


@pytest.fixture(params=["before the pixels", "as the pixels"])
def bombed(request, tmp_path):
    """A study whose PET is one bomb of one GiB in a MiB."""
    paths = save(tmp_path, [*series(pet_plane, "1.2.3.2"), *series(ct_plane, "1.2.3.3")])
    content = bomb(2**30, where=request.param)
    assert len(content) < 2 * MIB
    paths[0].write_bytes(content)
    return paths


@pytest.fixture
def peak():
    """Tells the most memory that Python and NumPy held since the test began, in MiB."""
    tracemalloc.start()
    yield lambda: tracemalloc.get_traced_memory()[1] / MIB
    tracemalloc.stop()


def test_a_bomb_of_a_gib_in_a_mib_is_refused_within_bounds(bombed, peak):
    identify(bombed[0].read_bytes())
    identify_file(bombed[0])
    with pytest.raises(UnusableStudy) as refusal:
        load(choose(bombed), contour_names=(), contour_codes=())
    made = results.refused(
        bombed,
        (unusable("PIXELS_BAD").reason,),
        equipment=Equipment(manufacturer="m", software_version="1", device_serial_number="2"),
        key="k",
        when=WHEN,
    )

    assert refusal.value.reason.code in {"PIXELS_BAD", "SLICES_DIFFER"}
    assert len(made) == 1
    assert peak() < 2.5 * reading.INFLATED_BYTES_MOST / MIB


def test_a_deflated_file_reads_as_the_one_that_is_not(tmp_path):
    plain, deflated = tmp_path / "plain.dcm", tmp_path / "deflated.dcm"
    plain.write_bytes(part10(pet_plane()))
    deflated.write_bytes(part10(pet_plane(), DeflatedExplicitVRLittleEndian))

    assert reading.read(deflated) == dcmread(plain)
    assert reading.read_headers(deflated, ["Modality"]).Modality == "PT"


@pytest.mark.parametrize("beyond", [0, 1, 8, 50, 257])
def test_a_deflated_file_is_inflated_to_its_last_byte(beyond):
    """zlib holds back what had no room in a piece when it has read all of a file already."""
    plain = bytes(MIB + beyond)
    deflating = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    deflated = deflating.compress(plain) + deflating.flush()

    assert b"".join(reading.inflated(BytesIO(deflated), 2 * MIB)) == plain


def test_a_deflated_file_that_was_cut_short_ends_where_it_was_cut():
    plain = np.random.default_rng(0).bytes(4096)
    deflating = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    deflated = (deflating.compress(plain) + deflating.flush())[:2000]

    found = b"".join(reading.inflated(BytesIO(deflated), MIB))

    assert 1000 < len(found) < 2000
    assert plain.startswith(found)


@pytest.mark.parametrize(
    "sizes",
    [
        {"Rows": 65535, "Columns": 65535},
        {"NumberOfFrames": 2**31 - 1},
        {"NumberOfFrames": -5},
        {"Rows": 65535, "Columns": 65535, "NumberOfFrames": 10**9, "SamplesPerPixel": 65535},
        {"BitsAllocated": 65528},
        {"Rows": 0},
        {"Columns": 0},
    ],
    ids=str,
)
@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, RLELossless, JPEGLSLossless], ids=str)
def test_pixels_that_are_not_there_are_never_made_room_for(tmp_path, peak, sizes, syntax):
    pets = series(pet_plane, "1.2.3.2")
    for ds in pets:
        if syntax.is_encapsulated:
            ds.compress(syntax, generate_instance_uid=False)
        for keyword, value in sizes.items():
            setattr(ds, keyword, value)
    paths = save(tmp_path, [*pets, *series(ct_plane, "1.2.3.3")])

    with pytest.raises(UnusableStudy) as refusal:
        load(choose(paths), contour_names=(), contour_codes=())

    assert refusal.value.reason.code in {"PIXELS_BAD", "GEOMETRY_ABSENT", "SIZE_IMPLAUSIBLE"}
    assert peak() < 64


def test_pixels_within_bounds_are_decoded():
    ds = pet_plane(3)

    assert np.array_equal(reading.stored_pixels(ds), np.full((8, 8), 3))
