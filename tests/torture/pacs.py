"""A real Orthanc that has the studies, is asked how many images they have, and gets the results."""

import io
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tests.bench.process import free_port
from tests.end_to_end.orthanc import Orthanc
from tests.torture.studies import Study

RESULTS = ("SR", "SEG", "OT")


@dataclass(frozen=True, kw_only=True)
class Held:
    """One object in the PACS; thousands of them would not fit into memory."""

    sop_instance_uid: str
    read: Callable[[], bytes]
    """Gets its file."""


class Pacs(Orthanc):
    """Orthanc without a route: what the node gets comes from storescu."""

    def __init__(self, folder: Path, *, node_port: int) -> None:
        ports = {"http_port": free_port(), "dicom_port": free_port(), "node_port": node_port}
        super().__init__(folder, **ports)
        (folder / "route.lua").write_text("")

    @property
    def peer(self) -> dict[str, object]:
        return {"ae_title": self.ae_title, "host": "127.0.0.1", "port": self.dicom_port}

    def hold(self, study: Study) -> None:
        """Take a study in, as it was before it is routed."""
        archive = io.BytesIO()
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as file:
            for number, path in enumerate(study.files.values()):
                file.write(path, f"{number:05d}.dcm")
        self.post("/instances", archive.getvalue())

    def results(self) -> dict[str, list[Held]]:
        """Return all that is no CT and no PET, by study; each is read when it is asked for."""
        found: dict[str, list[Held]] = {}
        for series in self.get("/series?expand"):
            if series["MainDicomTags"]["Modality"] in {"CT", "PT"}:
                continue
            study = self.get(f"/series/{series['ID']}/study")
            uid = study["MainDicomTags"]["StudyInstanceUID"]
            found.setdefault(uid, []).extend(
                Held(
                    sop_instance_uid=one["MainDicomTags"]["SOPInstanceUID"],
                    read=partial(self.get_bytes, f"/instances/{one['ID']}/file"),
                )
                for one in self.get(f"/series/{series['ID']}/instances")
            )
        return found


@contextmanager
def running(folder: Path, *, node_port: int) -> Iterator[Pacs]:
    """Run an Orthanc for as long as the block lasts; it reports on commitment to the node."""
    pacs = Pacs(folder, node_port=node_port)
    pacs.start()
    try:
        yield pacs
    finally:
        pacs.stop()
