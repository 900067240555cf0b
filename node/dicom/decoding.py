"""Decodes pixels, what may end its process in a process of its own.

GDCM ends the process by ``std::terminate`` on about one damaged stream in a hundred, and pydicom
would ask it first. So it is asked only where nobody else knows how, and apart from us.
"""

import atexit
import io
import os
import subprocess
import sys
from threading import Lock, Timer
from typing import IO, Final

import numpy as np
from numpy.typing import NDArray
from pydicom import dcmread
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.pixels.utils import pixel_array
from pydicom.uid import (
    JPEG2000TransferSyntaxes,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSTransferSyntaxes,
)

Stored = NDArray[np.generic]

DECODE_S: Final = 120.0
"""So long may one instance take; a thousand planes in one take a few seconds."""
_SAFE: Final = {
    **dict.fromkeys(JPEGLSTransferSyntaxes, "pyjpegls"),
    **dict.fromkeys(JPEG2000TransferSyntaxes, "pillow"),
    JPEGBaseline8Bit: "pillow",
}
_APART: Final = frozenset({JPEGLossless, JPEGLosslessSV1, JPEGExtended12Bit})
_NEEDED: Final = (
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "PlanarConfiguration",
    "NumberOfFrames",
    "Rows",
    "Columns",
    "BitsAllocated",
    "BitsStored",
    "HighBit",
    "PixelRepresentation",
    "PixelData",
)
_LENGTH_BYTES: Final = 8


def decode(dataset: Dataset) -> Stored:
    """Return the stored values; raise one of ``UNREADABLE`` where they cannot be decoded."""
    syntax = dataset.file_meta.get("TransferSyntaxUID")
    if syntax in _APART:
        return _APART_FROM_US.decode(dataset)
    return pixel_array(dataset, decoding_plugin=_SAFE.get(syntax, ""))


class _Apart:
    """A process that decodes one data set after the other; started when it is needed."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._process: subprocess.Popen[bytes] | None = None
        atexit.register(self.close)

    def close(self) -> None:
        """End the process, which would else outlive ours by the moment until it reads no more."""
        process = self._process
        if process is not None:
            self._end(process)

    def decode(self, dataset: Dataset) -> Stored:
        """Have a data set decoded; raise ValueError where that fails, ends it or takes too long."""
        asked = _written(dataset)
        with self._lock:
            process = self._running()
            timer = Timer(DECODE_S, process.kill)
            timer.start()
            try:
                answer = _answered(process, asked)
            except (OSError, EOFError) as error:
                self._end(process)
                raise ValueError("the decoder ended") from error
            finally:
                timer.cancel()
        if not answer:
            raise ValueError("the decoder refused")
        decoded: Stored = np.load(io.BytesIO(answer), allow_pickle=False)
        return decoded

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None or self._process.poll() is not None:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "node.dicom.decoding"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )
        return self._process

    def _end(self, process: subprocess.Popen[bytes]) -> None:
        process.kill()
        process.communicate()
        self._process = None


_APART_FROM_US: Final = _Apart()


def _written(dataset: Dataset) -> bytes:
    """Return what a decoder has to know of a data set, as a file."""
    needed = Dataset()
    for keyword in _NEEDED:
        if keyword in dataset:
            needed[keyword] = dataset[keyword]
    needed.file_meta = FileMetaDataset()
    needed.file_meta.TransferSyntaxUID = dataset.file_meta.TransferSyntaxUID
    file = io.BytesIO()
    needed.save_as(file, enforce_file_format=False)
    return file.getvalue()


def _answered(process: subprocess.Popen[bytes], asked: bytes) -> bytes:
    assert process.stdin is not None
    assert process.stdout is not None
    _put(process.stdin, asked)
    return _get(process.stdout)


def _put(stream: IO[bytes], content: bytes) -> None:
    stream.write(len(content).to_bytes(_LENGTH_BYTES, "little"))
    stream.write(content)
    stream.flush()


def _get(stream: IO[bytes]) -> bytes:
    length = _exactly(stream, _LENGTH_BYTES)
    return _exactly(stream, int.from_bytes(length, "little"))


def _exactly(stream: IO[bytes], length: int) -> bytes:
    content = stream.read(length)
    if len(content) < length:
        raise EOFError
    return content


def _serve() -> None:
    """Answer each data set with its values, or with nothing where they cannot be decoded."""
    source = sys.stdin.buffer
    # What native code prints must not get between the answers.
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    while True:
        try:
            asked = _get(source)
        except EOFError:
            return
        answer = io.BytesIO()
        try:
            np.save(answer, pixel_array(dcmread(io.BytesIO(asked), force=True)), allow_pickle=False)
        except Exception:  # noqa: BLE001  whatever it is, these bytes cannot be decoded
            answer = io.BytesIO()
        _put(answers, answer.getvalue())


if __name__ == "__main__":
    _serve()
