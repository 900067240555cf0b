"""Digests name their algorithm, and those of versions before still hold."""

import io
from pathlib import Path

import pytest

from node.digest import digest_of, is_of, is_of_file

# As b3sum and sha256sum print them; that of SHA-256 is an example of FIPS 180-2.
OF_ABC = {
    "blake3": "blake3:6437b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85",
    "sha256": "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
}


# The bytes 0 to 250 over and over: BLAKE3's own test vectors have this one.
OF_100_KIB = [
    "blake3:bc3e3d41a1146b069abffad3c0d44860cf664390afce4d9661f7902e7943e085",
    "sha256:74588b7f0bcc354ac14d9cf199fa3a20c05f0c7293b9075b2f2e146e718de800",
]


def test_a_digest_names_its_algorithm_and_fits_its_column():
    assert digest_of(b"abc") == digest_of(memoryview(b"abc")) == OF_ABC["blake3"]
    assert len(digest_of(b"abc")) <= 80


@pytest.mark.parametrize("digest", OF_ABC.values(), ids=OF_ABC)
def test_the_algorithm_that_a_digest_names_decides(digest):
    assert is_of(digest, b"abc")
    assert is_of(digest, memoryview(b"abc"))
    assert not is_of(digest, b"abd")


@pytest.mark.parametrize("digest", OF_ABC.values(), ids=OF_ABC)
def test_a_digest_of_one_algorithm_under_the_name_of_the_other_is_of_nothing(digest):
    name, _, digits = digest.partition(":")
    (other,) = OF_ABC.keys() - {name}

    assert not is_of(f"{other}:{digits}", b"abc")


@pytest.mark.parametrize("digest", OF_100_KIB)
def test_a_file_is_digested_as_its_bytes(tmp_path, digest):
    content = bytes(n % 251 for n in range(102_400))
    (tmp_path / "file").write_bytes(content)
    (tmp_path / "torn").write_bytes(content[:-1])

    assert is_of(digest, content)
    with (tmp_path / "file").open("rb") as file, (tmp_path / "torn").open("rb") as torn:
        assert is_of_file(digest, file)
        assert not is_of_file(digest, torn)


@pytest.mark.parametrize("digest", ["", "0" * 64, "sha512:00", "BLAKE3:00"])
def test_a_digest_of_an_unknown_algorithm_is_an_error_that_says_so(digest):
    with pytest.raises(ValueError, match="is of none of blake3, sha256"):
        is_of(digest, b"abc")
    with pytest.raises(ValueError, match="is of none of blake3, sha256"):
        is_of_file(digest, io.BytesIO(b"abc"))


def test_no_thread_is_started_for_a_digest():
    before = set(Path("/proc/self/task").iterdir())

    digest_of(bytes(10_000_000))

    assert set(Path("/proc/self/task").iterdir()) == before
