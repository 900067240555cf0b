"""The readers as targets: identifiers, headers, whole studies and what becomes of the intake."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from random import Random

from db.engine import connect
from db.migrate import upgrade
from inference.findings import Reason
from node.config import Selection
from node.dicom import results
from node.dicom.headers import identify, is_uid
from node.dicom.provenance import Equipment
from node.dicom.reasons import REFUSALS
from node.dicom.scan import scan
from node.dicom.series import choose, studies
from node.dicom.volumes import load
from node.errors import NotUnderstood, Refused, UnusableStudy
from node.instance import Arrival
from node.intake import Intake
from node.net.part10 import part10
from node.store import Store
from tests.fuzz import seeds
from tests.fuzz.mutation import Element, damaged, encode, lied, parse
from tests.fuzz.target import Bear, Target

EQUIPMENT = Equipment(manufacturer="m", software_version="1", device_serial_number="2")
WHEN = datetime(2026, 3, 4, tzinfo=UTC)
SELECTION = Selection()
_EXPLICIT = b"1.2.840.10008.1.2.1\0"
_IMPLICIT = b"1.2.840.10008.1.2\0"


def changed(content: bytes, chance: Random) -> bytes:
    """Damage a file blindly, or its data set knowing its elements, or both."""
    meta, data_set = seeds.split(content)
    known = _elements(data_set) if meta.endswith(_EXPLICIT) or b"1.2.4" in meta else ()
    if not known or chance.random() < 0.3:
        return damaged(content, chance)
    implicit = meta.endswith(_EXPLICIT) and chance.random() < 0.15
    lies = encode(lied(known, chance), implicit=implicit)
    if implicit:
        meta = _as_implicit(meta)
    return damaged(meta + lies, chance) if chance.random() < 0.1 else meta + lies


@cache
def _elements(data_set: bytes) -> tuple[Element, ...]:
    return parse(data_set)


def _as_implicit(meta: bytes) -> bytes:
    head = meta[: -len(_EXPLICIT) - 2]
    return head + len(_IMPLICIT).to_bytes(2, "little") + _IMPLICIT


@contextmanager
def _identifying(_folder: Path) -> Iterator[Bear]:
    def bear(content: bytes) -> int:
        with suppress(NotUnderstood):
            found = identify(content)
            assert all(map(is_uid, (found.sop_instance_uid, found.study_instance_uid)))
        return 1

    yield bear


@contextmanager
def _scanning(folder: Path) -> Iterator[Bear]:
    path = folder / "one.dcm"

    def bear(content: bytes) -> int:
        path.write_bytes(content)
        for series in scan([path]):
            assert series.planes
        return 1

    yield bear


@contextmanager
def _reading(folder: Path, companions: Mapping[str, bytes]) -> Iterator[Bear]:
    """Read a study of sound files and the damaged one, as far as its arrays or its refusal."""
    for uid, content in companions.items():
        (folder / f"{uid}.dcm").write_bytes(content)
    damaged_file = folder / "damaged.dcm"
    files = [*(folder / f"{uid}.dcm" for uid in companions), damaged_file]

    def bear(content: bytes) -> int:
        damaged_file.write_bytes(content)
        for paths in studies(files).values():
            _concluded(paths)
        return 1

    yield bear


def _concluded(paths: tuple[Path, ...]) -> None:
    try:
        load(
            choose(paths),
            contour_names=SELECTION.contour_names,
            contour_codes=SELECTION.contour_codes,
        )
    except UnusableStudy as unusable:
        _refused(paths, unusable.reason)


def _refused(paths: tuple[Path, ...], reason: Reason) -> None:
    assert reason.code in REFUSALS
    with suppress(UnusableStudy):
        (report,) = results.refused(paths, (reason,), equipment=EQUIPMENT, key="k", when=WHEN)
        assert report.part10


def _without(uid: str, modality: str = "") -> dict[str, bytes]:
    """Return the planes of the sound study but one, or but all of one modality."""
    prefix = {"PT": "1.2.3.2.", "CT": "1.2.3.3."}.get(modality, "none")
    return {k: v for k, v in seeds.planes().items() if k != uid and not k.startswith(prefix)}


def _some(*names: str) -> dict[str, bytes]:
    return {name: seeds.everything()[name] for name in names}


@contextmanager
def _taking_in(folder: Path) -> Iterator[Bear]:
    """Hand data sets to the intake as the listener does, with a database and a store."""
    url = f"sqlite:///{folder / 'node.sqlite3'}"
    upgrade(url)
    engine = connect(url)
    intake = Intake(engine, Store(folder / "store", 0), identify, lambda: WHEN)

    def bear(content: bytes) -> int:
        uid = content[:64].split(b"|")[0].decode("latin-1")
        kind = {
            "sop_class_uid": "1.2.840.10008.5.1.4.1.1.2",
            "sop_instance_uid": uid if is_uid(uid) else "1.2.3.3.2",
            "transfer_syntax_uid": "1.2.840.10008.1.2.1",
        }
        arrival = Arrival(
            part10=part10(content, **kind),
            calling_ae_title="FUZZ",
            peer="127.0.0.1:1",
            association="a",
            **kind,
        )
        with suppress(Refused):
            study = intake.receive(arrival)
            assert is_uid(study)
        return 1

    yield bear
    engine.dispose()
    root = (folder / "store").resolve()
    assert all(path.resolve().is_relative_to(root) for path in root.rglob("*"))


def _data_sets() -> dict[str, bytes]:
    """Return data sets without File Meta Information, as they come over the network."""
    return {name: seeds.split(_some(name)[name])[1] for name in ("ct", "ct-rle")}


def _changed_data_set(content: bytes, chance: Random) -> bytes:
    if chance.random() < 0.3:
        return damaged(content, chance)
    return encode(lied(_elements(content), chance))


TARGETS = (
    Target(
        name="identify",
        unit="files whose identifiers are read",
        seeds=seeds.everything,
        change=changed,
        open=_identifying,
        share=0.26,
    ),
    Target(
        name="scan",
        unit="files whose headers are read",
        seeds=seeds.everything,
        change=changed,
        open=_scanning,
        share=0.03,
    ),
    Target(
        name="pet",
        unit="studies with a damaged PET plane, chosen, loaded or refused",
        seeds=lambda: _some("pet", "pet-implicit", "pet-deflated"),
        change=changed,
        open=lambda folder: _reading(folder, _without("1.2.3.2.2")),
        share=0.0015,
    ),
    Target(
        name="ct",
        unit="studies with a damaged CT plane, chosen, loaded or refused",
        seeds=lambda: _some("ct"),
        change=changed,
        open=lambda folder: _reading(folder, _without("1.2.3.3.2")),
        share=0.0015,
    ),
    Target(
        name="enhanced",
        unit="studies whose PET is one damaged instance, chosen, loaded or refused",
        seeds=lambda: _some("pet-enhanced"),
        change=changed,
        open=lambda folder: _reading(folder, _without("", "PT")),
        share=0.001,
    ),
    Target(
        name="documents",
        unit="studies with a damaged structure set, segmentation or report, loaded",
        seeds=seeds.documents,
        change=changed,
        open=lambda folder: _reading(folder, seeds.planes()),
        share=0.002,
    ),
    Target(
        name="intake",
        unit="data sets given to the intake with its database and store",
        seeds=_data_sets,
        change=_changed_data_set,
        open=_taking_in,
        share=0.003,
    ),
)
