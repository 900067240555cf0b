"""The decoders of compressed pixels as a target: native code, which may end the whole process."""

import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import cache
from io import BytesIO
from pathlib import Path
from random import Random

import numpy as np
from PIL import Image
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    UID,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

from node.dicom.attributes import UNREADABLE
from node.dicom.reading import stored_pixels
from tests.fuzz import seeds
from tests.fuzz.mutation import damaged, encode, lied, parse
from tests.fuzz.target import Bear, Target
from tests.node.dicom.minimal import ct_plane

SIDE = 16


def _plane() -> Dataset:
    ds = ct_plane(1)
    ds.Rows = ds.Columns = SIDE
    values = np.arange(SIDE * SIDE, dtype=np.int16).reshape(SIDE, SIDE) * 37 % 2048
    ds.PixelData = values.tobytes()
    return ds


def _jpeg2000() -> bytes:
    ds = _plane()
    ds.PixelRepresentation = 0
    stream = BytesIO()
    values = np.frombuffer(ds.PixelData, np.uint16).reshape(SIDE, SIDE)
    Image.fromarray(values).save(stream, "JPEG2000", no_jp2=True, num_resolutions=2)
    return _encapsulated(ds, stream.getvalue(), JPEG2000Lossless)


def _jpeg() -> bytes:
    ds = _plane()
    ds.BitsAllocated = ds.BitsStored = 8
    ds.HighBit, ds.PixelRepresentation = 7, 0
    stream = BytesIO()
    values = np.frombuffer(ds.PixelData, np.int16).reshape(SIDE, SIDE).astype(np.uint8)
    Image.fromarray(values).save(stream, "JPEG")
    return _encapsulated(ds, stream.getvalue(), JPEGBaseline8Bit)


def _encapsulated(ds: Dataset, stream: bytes, syntax: UID) -> bytes:
    ds.PixelData = encapsulate([stream])
    ds["PixelData"].VR = "OB"
    ds["PixelData"].is_undefined_length = True
    ds.file_meta.TransferSyntaxUID = syntax
    file = BytesIO()
    ds.save_as(file, enforce_file_format=True)
    return file.getvalue()


def _jpeg_lossless() -> bytes:
    """Compress by hand (ITU-T T.81 H.1): first predictor, all codes of five bits."""
    ds = _plane()
    ds.PixelRepresentation = 0
    values = np.frombuffer(ds.PixelData, np.uint16).reshape(SIDE, SIDE).astype(int)
    predicted = np.hstack([np.vstack([[1 << 15], values[:-1, :1]]), values[:, :-1]])
    bits = "".join(_coded(int(value)) for value in (values - predicted).ravel())
    bits += "1" * (-len(bits) % 8)
    scan = int(bits, 2).to_bytes(len(bits) // 8, "big").replace(b"\xff", b"\xff\0")
    categories = bytes(range(17))
    table = b"\0" + bytes([0] * 4 + [len(categories)] + [0] * 11) + categories
    stream = (
        b"\xff\xd8\xff\xc3"
        + struct.pack(">HBHHB3B", 11, 16, SIDE, SIDE, 1, 1, 0x11, 0)
        + b"\xff\xc4"
        + struct.pack(">H", 2 + len(table))
        + table
        + b"\xff\xda"
        + struct.pack(">HB2B3B", 8, 1, 1, 0, 1, 0, 0)
        + scan
        + b"\xff\xd9"
    )
    return _encapsulated(ds, stream + b"\0" * (len(stream) % 2), JPEGLosslessSV1)


def _coded(difference: int) -> str:
    category = abs(difference).bit_length()
    value = difference if difference > 0 else difference + (1 << category) - 1
    return f"{category:05b}" + (f"{value:0{category}b}" if 0 < category < 16 else "")


@cache
def compressed() -> Mapping[str, bytes]:
    """Return one plane in each compression that the listener takes."""
    return {
        "jpeg-ls": seeds.part10(_plane(), JPEGLSLossless),
        "rle": seeds.part10(_plane(), RLELossless),
        "jpeg2000": _jpeg2000(),
        "jpeg": _jpeg(),
        "jpeg-lossless": _jpeg_lossless(),
    }


def _changed(content: bytes, chance: Random) -> bytes:
    """Damage the stream; now and then what the headers say of it."""
    meta, data_set = seeds.split(content)
    *headers, pixels = parse(data_set)
    if chance.random() < 0.2:
        headers = list(lied(headers, chance))
    kept = 16 if chance.random() < 0.9 else 0  # the offset table and the head of the fragment
    end = -8 if kept else None
    tail = pixels.tail[:kept] + damaged(pixels.tail[kept:end], chance) + pixels.tail[-8:]
    size = (len(tail) - kept - 8).to_bytes(4, "little")
    if kept:
        tail = tail[:12] + size + tail[16:]
    return meta + encode([*headers, replace(pixels, tail=tail)])


@contextmanager
def _decoding(_folder: Path) -> Iterator[Bear]:
    def bear(content: bytes) -> int:
        with suppress(*UNREADABLE):
            stored_pixels(dcmread(BytesIO(content)))
        return 1

    yield bear


TARGETS = (
    Target(
        name="decoders",
        unit="compressed planes given to the decoders, native code included",
        seeds=compressed,
        change=_changed,
        open=_decoding,
        share=0.003,
    ),
)
