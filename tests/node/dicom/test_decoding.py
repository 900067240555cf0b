"""Compressed pixels that are damaged are refused, and no process of ours ends by them."""

import os
import signal
import subprocess
import sys
from io import BytesIO

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset

from node.dicom import decoding, results
from node.dicom.attributes import UNREADABLE, texts
from node.dicom.philips import count_factors
from node.dicom.reading import stored_pixels
from node.dicom.reasons import unusable
from node.dicom.series import choose
from node.dicom.volumes import load
from node.errors import UnusableStudy
from tests.fuzz.decoders import compressed
from tests.fuzz.readers import EQUIPMENT, WHEN
from tests.node.dicom.minimal import ct_plane, pet_plane, save, series

PLANE = np.arange(256).reshape(16, 16) * 37 % 2048
CUT_OFF = 24
ALONE = """\
import sys, io, pydicom
pydicom.dcmread(io.BytesIO(sys.stdin.buffer.read())).pixel_array
"""


@pytest.mark.parametrize("name", ["jpeg-ls", "jpeg2000", "jpeg-lossless", "rle"])
def test_what_was_compressed_without_loss_comes_back(name):
    assert np.array_equal(stored_pixels(dcmread(BytesIO(compressed()[name]))), PLANE)


@pytest.mark.parametrize("name", ["jpeg-ls", "jpeg2000", "jpeg", "jpeg-lossless"])
@pytest.mark.parametrize("damage", ["cut off", "without its tables", "of another size"])
def test_a_damaged_stream_is_refused_or_decoded_and_nothing_worse(name, damage):
    ds = dcmread(BytesIO(compressed()[name]))
    stream = bytearray(ds.PixelData)
    if damage == "cut off":
        stream[len(stream) // 2 :] = b"\xfe\xff\xdd\xe0\0\0\0\0"
    elif damage == "without its tables":
        stream[20:CUT_OFF] = b"\xff\xff\xff\xff"
    else:
        stream[24:60] = bytes(36)
    ds.PixelData = bytes(stream)
    try:
        decoded = stored_pixels(ds)
    except UNREADABLE:
        return
    assert decoded.shape == (16, 16)


def test_gdcm_ends_its_process_and_never_ours():
    """The stream says that its samples have 255 bits: GDCM reads where nothing is."""
    ds = dcmread(BytesIO(compressed()["jpeg-lossless"]))
    stream = ds.PixelData
    frame = stream.index(b"\xff\xc3")
    ds.PixelData = stream[: frame + 4] + b"\xff" + stream[frame + 5 :]
    asked = BytesIO()
    ds.save_as(asked, enforce_file_format=True)
    alone = subprocess.run(
        [
            sys.executable,
            "-c",
            ALONE,
        ],
        input=asked.getvalue(),
        capture_output=True,
        check=False,
    )
    assert alone.returncode < 0, "GDCM bears it now: is it still to be kept apart?"
    with pytest.raises(ValueError, match="the decoder"):
        stored_pixels(ds)

    sound = dcmread(BytesIO(compressed()["jpeg-lossless"]))
    assert np.array_equal(stored_pixels(sound), PLANE)


def test_a_study_with_such_a_stream_is_refused_by_its_code(tmp_path):
    ds = dcmread(BytesIO(compressed()["jpeg-lossless"]))
    cts = series(ct_plane, "1.2.3.3", 3)
    for ct in cts:
        for keyword in ("Rows", "Columns", "PixelRepresentation"):
            setattr(ct, keyword, ds[keyword].value)
        ct.PixelData = ds.PixelData.replace(b"\xff\xc3\x00\x0b\x10", b"\xff\xc3\x00\x0b\xff")
        ct["PixelData"].VR, ct["PixelData"].is_undefined_length = "OB", True
        ct.file_meta.TransferSyntaxUID = ds.file_meta.TransferSyntaxUID
    paths = save(tmp_path, [*series(pet_plane, "1.2.3.2", 3), *cts])

    with pytest.raises(UnusableStudy, match="PIXELS_BAD"):
        load(choose(paths), contour_names=(), contour_codes=())


def test_a_decoder_that_does_not_come_back_is_given_up(monkeypatch):
    """It is stopped, so that it cannot be quicker than the clock."""
    ds = dcmread(BytesIO(compressed()["jpeg-lossless"]))
    stored_pixels(ds)
    os.kill(decoding._APART_FROM_US._running().pid, signal.SIGSTOP)
    monkeypatch.setattr(decoding, "DECODE_S", 0.05)

    with pytest.raises(ValueError, match="the decoder ended"):
        stored_pixels(ds)
    monkeypatch.undo()
    assert np.array_equal(stored_pixels(ds), PLANE)


def nested(depth):
    """A data set in a data set in a data set: pydicom names it in a time that doubles each time."""
    ds = Dataset()
    ds.PatientID = "1"
    for _ in range(depth):
        outer = Dataset()
        outer.ReferencedImageSequence = [ds]
        ds = outer
    return ds


@pytest.mark.parametrize("keyword", ["PixelRepresentation", "Rows", "NumberOfFrames", "BitsStored"])
def test_a_sequence_where_a_number_belongs_is_not_written_out(keyword):
    ds = pet_plane()
    ds.add_new(keyword, "SQ", [nested(60)])
    with pytest.raises(ValueError, match=f"{keyword} is a sequence"):
        stored_pixels(ds)


def test_a_sequence_where_a_text_belongs_is_no_text(tmp_path):
    ds = pet_plane()
    ds.add_new("Manufacturer", "SQ", [nested(60)])
    ds.add_new("PatientName", "SQ", [nested(60)])
    ds.add_new((0x7053, 0x0010), "SQ", [nested(60)])
    (report,) = results.refused(
        save(tmp_path, [ds]),
        (unusable("PET_MISSING").reason,),
        equipment=EQUIPMENT,
        key="k",
        when=WHEN,
    )

    assert texts(ds, "Manufacturer") == ()
    assert count_factors(ds).suvbw is None
    assert dcmread(BytesIO(report.part10)).PatientName == ""
