"""Digests of stored bytes: text that names the algorithm it was taken with.

``blake3:`` and 64 hex digits is what is taken now; ``sha256:`` and 64 hex digits is what versions
before took, and holds as long as its row.
"""

import hashlib
from collections.abc import Callable
from io import BufferedReader
from typing import Any, Final

from blake3 import blake3

_ALGORITHMS: Final[dict[str, Callable[..., Any]]] = {  # each makes an object as hashlib's are
    "blake3": blake3,
    "sha256": hashlib.sha256,
}


def digest_of(content: bytes | memoryview) -> str:
    """Return the digest of bytes; one thread takes it."""
    return f"blake3:{blake3(content).hexdigest()}"


def is_of(digest: str, content: bytes | memoryview) -> bool:
    """Whether the bytes have that digest; ValueError where no algorithm of ours took it."""
    algorithm, expected = _parted(digest)
    return bool(algorithm(content).hexdigest() == expected)


def is_of_file(digest: str, file: BufferedReader) -> bool:
    """Whether what is left to read of the file has that digest; else as ``is_of``."""
    algorithm, expected = _parted(digest)
    return hashlib.file_digest(file, algorithm).hexdigest() == expected


def _parted(digest: str) -> tuple[Callable[..., Any], str]:
    name, _, expected = digest.partition(":")
    if name not in _ALGORITHMS:
        raise ValueError(f"digest {digest!r} is of none of {', '.join(_ALGORITHMS)}")
    return _ALGORITHMS[name], expected
