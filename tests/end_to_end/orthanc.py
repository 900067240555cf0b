"""A real Orthanc on loopback, for as long as a test needs it."""

import json
import os
import shutil
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path

EXECUTABLE = shutil.which("Orthanc") or (
    "/usr/sbin/Orthanc" if Path("/usr/sbin/Orthanc").exists() else None
)

# Source images only, never the SR, SEG or SC that come back: so nothing runs in a circle.
ROUTE = """
function OnStableSeries(seriesId, tags, metadata)
  if tags['Modality'] == 'CT' or tags['Modality'] == 'PT' then
    local order = { Resources = { seriesId }, Asynchronous = true }
    RestApiPost('/modalities/node/store', DumpJson(order, true))
  end
end
"""


class Orthanc:
    """One Orthanc process with its own folder, which routes CT and PT series to a node."""

    def __init__(self, folder: Path, *, http_port: int, dicom_port: int, node_port: int) -> None:
        self.folder = folder
        self.ae_title = "TESTPACS"
        self.dicom_port = dicom_port
        self.http = f"http://127.0.0.1:{http_port}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "route.lua").write_text(ROUTE)
        settings = {
            "Name": "testpacs",
            "StorageDirectory": str(folder / "db"),
            "IndexDirectory": str(folder / "db"),
            "HttpPort": http_port,
            "RemoteAccessAllowed": False,
            "AuthenticationEnabled": False,
            "DicomAet": self.ae_title,
            "DicomPort": dicom_port,
            "DicomCheckCalledAet": False,
            "DicomAlwaysAllowFind": True,
            "DicomModalities": {
                "node": {"AET": "PETCTNODE", "Host": "127.0.0.1", "Port": node_port}
            },
            "StableAge": 1,
            "SaveJobs": False,
            "LuaScripts": [str(folder / "route.lua")],
        }
        (folder / "orthanc.json").write_text(json.dumps(settings))
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> "Orthanc":
        assert EXECUTABLE is not None
        log = (self.folder / "log").open("ab")
        self._process = subprocess.Popen(
            [EXECUTABLE, str(self.folder / "orthanc.json")],
            stdout=log,
            stderr=log,
            env={**os.environ, "TCP_NODELAY": "1"},
        )
        log.close()
        end = time.monotonic() + 20
        while time.monotonic() < end:
            if self._process.poll() is not None:
                break
            try:
                self.get("/system")
            except (urllib.error.URLError, ConnectionError):
                time.sleep(0.05)
            else:
                return self
        raise RuntimeError(f"Orthanc did not start: {(self.folder / 'log').read_text()[-2000:]}")

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(timeout=20)
            self._process = None

    def get(self, path: str):
        with urllib.request.urlopen(self.http + path, timeout=30) as answer:
            return json.loads(answer.read())

    def get_bytes(self, path: str) -> bytes:
        with urllib.request.urlopen(self.http + path, timeout=30) as answer:
            return answer.read()

    def post(self, path: str, body: bytes):
        request = urllib.request.Request(self.http + path, data=body, method="POST")
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.loads(answer.read() or b"null")

    def instances(self, study_instance_uid: str) -> list[dict]:
        """Every instance of a study: its Orthanc id and modality."""
        found = []
        for series in (self.get(f"/series/{identifier}") for identifier in self.get("/series")):
            study = self.get(f"/studies/{series['ParentStudy']}")
            if study["MainDicomTags"]["StudyInstanceUID"] == study_instance_uid:
                modality = series["MainDicomTags"]["Modality"]
                found += [{"id": i, "modality": modality} for i in series["Instances"]]
        return found
