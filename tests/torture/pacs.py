"""A real Orthanc that has the studies, is asked how many images they have, and gets the results."""

import io
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pydicom import Dataset, dcmread

from tests.bench.process import free_port
from tests.end_to_end.orthanc import Orthanc
from tests.torture.studies import Study

RESULTS = ("SR", "SEG", "OT")


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

    def results(self) -> dict[str, list[Dataset]]:
        """Return all that is no CT and no PET, by study."""
        found: dict[str, list[Dataset]] = {}
        for series in self.get("/series?expand"):
            if series["MainDicomTags"]["Modality"] in {"CT", "PT"}:
                continue
            for one in series["Instances"]:
                dataset = dcmread(io.BytesIO(self.get_bytes(f"/instances/{one}/file")))
                found.setdefault(str(dataset.StudyInstanceUID), []).append(dataset)
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
