"""``petct-node demo``: a phantom study through a real node, over real associations."""

import json
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from rich.console import Console

from db import jobs, studies
from db.engine import connect, reading
from inference.petct import PetCt
from inference.phantom import Phantom, draw, random_phantom, tumour_region
from inference.scanner import SCANNERS
from node.cli.findings import print_document
from node.cli.process import map_name
from node.config import Listener as Policy
from node.config import Peer
from node.dicom import acquire, secondary_capture
from node.errors import PeerUnavailable
from node.instance import Arrival
from node.net import scu
from node.net.scp import Listener

SEED = 3
SCANNER = "classic"
STARTED_AT = datetime(2026, 1, 2, 10, 15, tzinfo=UTC)
PATIENCE_S = 120
FILE_NAMES = {
    "1.2.840.10008.5.1.4.1.1.88.34": "sr.dcm",
    "1.2.840.10008.5.1.4.1.1.66.4": "seg.dcm",
    "1.2.840.10008.5.1.4.1.1.7": "key-image.dcm",
}
"""SOP classes of what comes back (Comprehensive 3D SR, Segmentation, Secondary Capture)."""
MAP = "1.2.840.10008.5.1.4.1.1.30"
"""Parametric Map: where a network looked; they come before the report, one for each that tells."""


class DemoFailed(Exception):
    """The demonstration did not end as it should; the message says where to look."""


class Pacs:
    """What stands for the PACS: it keeps what it is sent, and says when all of it is there."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._missing = set(FILE_NAMES)
        self.complete = threading.Event()

    def receive(self, arrival: Arrival) -> None:
        """Keep one result object."""
        sop_class = arrival.sop_class_uid
        name = map_name(arrival.part10) if sop_class == MAP else FILE_NAMES[sop_class]
        (self._folder / name).write_bytes(arrival.part10)
        self._missing.discard(arrival.sop_class_uid)
        if not self._missing:
            self.complete.set()


def demo(out: Path, console: Console) -> int:
    """Run the demonstration; return 0, or 1 where something did not come back."""
    started = time.perf_counter()
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="petct-node-demo-") as name:
        folder = Path(name)
        phantom = random_phantom(SEED)
        with console.status("drawing a phantom patient and writing what a scanner would send"):
            petct = draw(phantom, SCANNERS[SCANNER])
            study = acquire.Study.of_phantom(SEED, STARTED_AT)
            files = acquire.write(petct, folder / "study", habit=acquire.Habit.SIEMENS, study=study)
        console.print(f"drew a thorax PET/CT: {len(files)} images")
        try:
            document = _through_the_node(files, folder, out, console)
        except DemoFailed as failure:
            console.print(f"[red]the demonstration failed[/]: {failure}")
            return 1
    (out / "findings.json").write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    secondary_capture.save_png(out / "key-image.dcm", out / "key-image.png")
    print_document(document, console)
    _print_truth(phantom, petct, document, console)
    console.print(f"\n{out}/: {', '.join(sorted(p.name for p in out.iterdir() if p.is_file()))}")
    console.print(f"[dim]{time.perf_counter() - started:.1f} s in all[/]")
    return 0


def write_phantom(
    out: Path, console: Console, *, seed: int, scanner: str, habit: str, contour: bool
) -> int:
    """Write a drawn study as DICOM; return 0, or 1 where scanner or habit is not known."""
    habits = [str(one) for one in acquire.Habit]
    if scanner not in SCANNERS or habit not in habits:
        console.print(f"scanners: {', '.join(SCANNERS)}; habits: {', '.join(habits)}")
        return 1
    phantom = random_phantom(seed)
    with console.status("drawing and writing"):
        petct = draw(phantom, SCANNERS[scanner])
        files = acquire.write(
            petct,
            out,
            habit=acquire.Habit(habit),
            study=acquire.Study.of_phantom(seed, STARTED_AT),
            include_contour=tumour_region(phantom, petct.ct.grid) if contour else None,
        )
    console.print(f"{len(files)} files in {out}")
    return 0


def _through_the_node(
    files: tuple[Path, ...], folder: Path, out: Path, console: Console
) -> Mapping[str, Any]:
    node_port, pacs_port = _free_ports(2)
    settings = _settings(folder, node_port=node_port, pacs_port=pacs_port)
    config = folder / "config.yaml"
    config.write_text(yaml.safe_dump(settings), encoding="utf-8")
    node = Peer(ae_title="PETCTNODE", host="127.0.0.1", port=node_port)
    pacs = Pacs(out)
    policy = Policy(ae_title="DEMOPACS", port=pacs_port)
    with (
        Listener(policy, receive=pacs.receive, closed=lambda _: None),
        _node(config, folder / "node.log") as process,
    ):
        with console.status("starting the node"):
            _await_node(node, process, folder / "node.log")
        console.print(f"the node listens as {node.ae_title} on port {node.port}")
        with console.status(f"sending {len(files)} images"):
            sent = scu.send(
                node, [scu.outgoing(path) for path in files], calling_ae_title="DEMOPACS"
            )
        taken = sum(one.taken for one in sent)
        console.print(f"sent the study: {taken} of {len(files)} images acknowledged as safe")
        ended = time.perf_counter()
        with console.status("waiting for the results"):
            if not pacs.complete.wait(PATIENCE_S):
                raise DemoFailed(f"no results within {PATIENCE_S} s\n{_tail(folder / 'node.log')}")
        seconds = time.perf_counter() - ended
        console.print(f"the report and all it cites came back {seconds:.1f} s after the last image")
    return _document(settings["database"]["url"])


def _settings(folder: Path, *, node_port: int, pacs_port: int) -> dict[str, Any]:
    return {
        "listener": {"ae_title": "PETCTNODE", "port": node_port},
        "store": {"root": str(folder / "store"), "free_bytes_min": 0},
        "database": {"url": f"sqlite:///{folder / 'node.sqlite3'}"},
        "assembly": {"quiet_s": 1, "association_quiet_s": 1},
        "destinations": {"pacs": {"ae_title": "DEMOPACS", "host": "127.0.0.1", "port": pacs_port}},
    }


def _free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [int(one.getsockname()[1]) for one in sockets]
    for one in sockets:
        one.close()
    return ports


@contextmanager
def _node(config: Path, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run ``petct-node serve`` as a process of its own."""
    command = [sys.executable, "-m", "node", "serve", "--config", str(config)]
    with log.open("wb") as file, subprocess.Popen(command, stdout=file, stderr=file) as process:  # noqa: S603  our own command
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(timeout=30)
            except subprocess.TimeoutExpired:
                process.kill()


def _await_node(node: Peer, process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end and process.poll() is None:
        try:
            scu.echo(node, calling_ae_title="DEMOPACS", timeout_s=5)
        except PeerUnavailable:
            time.sleep(0.2)
        else:
            return
    raise DemoFailed(f"the node did not start\n{_tail(log)}")


def _document(url: str) -> Mapping[str, Any]:
    engine = connect(url)
    try:
        with reading(engine) as connection:
            study = studies.newest(connection, limit=1)[0]
            document = jobs.of_study(connection, study.study_instance_uid)[-1].findings
    finally:
        engine.dispose()
    assert document is not None
    return document


def _tail(log: Path) -> str:
    return "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-20:])


def _print_truth(
    phantom: Phantom, petct: PetCt, document: Mapping[str, Any], console: Console
) -> None:
    """Say what was drawn, beside what was found."""
    tumour = phantom.tumour
    if tumour is None or not document["lesions"]:
        return
    found = document["lesions"][0]
    apart = float(np.linalg.norm(np.subtract(found["centroid_lps_mm"], tumour.centre_lps_mm)))
    voxel = max(petct.pet.grid.spacing)
    console.print(
        f"the phantom's tumour: {tumour.diameter_mm:.0f} mm across; "
        f"found {found['longest_diameter_mm']:.0f} mm, centres {apart:.1f} mm apart "
        f"(PET voxels are {voxel:.1f} mm)"
    )
