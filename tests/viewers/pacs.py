"""A PACS with a viewer on loopback: Orthanc's DICOMweb and the static OHIF, both behind nginx."""

import json
import os
import shutil
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.end_to_end import orthanc

ROOT = Path(__file__).resolve().parent.parent.parent
PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
NGINX = shutil.which("nginx") or ("/usr/sbin/nginx" if Path("/usr/sbin/nginx").exists() else None)
BROWSER = shutil.which("chromium")

SETTINGS = {
    "Plugins": [str(PLUGIN)],
    "DicomWeb": {"Enable": True, "Root": "/dicom-web/", "EnableWado": True, "WadoRoot": "/wado"},
    "LuaScripts": [],
}

# One origin for pages and images; the folders of nginx all lie in the test's own.
CONFIGURATION = """
daemon off;
{user}
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/nginx.log warn;
events {{ worker_connections 256; }}
http {{
  types {{
    text/html html;  text/css css;  application/javascript js mjs;  application/wasm wasm;
    application/json json webmanifest;  image/svg+xml svg;  image/png png;  font/woff2 woff2;
  }}
  access_log off;
  sendfile on;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  server {{
    listen 127.0.0.1:{port};
    root {pages};
    location = /app-config.js {{ root {folder}; }}
    location /dicom-web/ {{
      proxy_pass {orthanc};
      proxy_set_header Host $http_host;
      proxy_read_timeout 60s;
    }}
    location / {{ try_files $uri /index.html; }}
  }}
}}
"""

VIEWER = {
    "name": "petct-node tests",
    "routerBasename": "/",
    "extensions": [],
    "modes": [],
    "showStudyList": True,
    "maxNumberOfWebWorkers": 2,
    "showLoadingIndicator": True,
    "strictZSpacingForVolumeViewport": True,
    "investigationalUseDialog": {"option": "never"},
    "defaultDataSourceName": "pacs",
    "dataSources": [
        {
            "namespace": "@ohif/extension-default.dataSourcesModule.dicomweb",
            "sourceName": "pacs",
            "configuration": {
                "friendlyName": "Orthanc",
                "name": "orthanc",
                "wadoUriRoot": "/dicom-web",
                "qidoRoot": "/dicom-web",
                "wadoRoot": "/dicom-web",
                "qidoSupportsIncludeField": False,
                "supportsReject": False,
                "imageRendering": "wadors",
                "thumbnailRendering": "wadors",
                "enableStudyLazyLoad": True,
                "supportsFuzzyMatching": False,
                "supportsWildcard": True,
                "omitQuotationForMultipartRequest": True,
            },
        }
    ],
}


@dataclass(frozen=True, kw_only=True)
class Pacs:
    """Where the running PACS and its viewer are."""

    orthanc: orthanc.Orthanc
    viewer: str

    def store(self, part10: bytes) -> None:
        self.orthanc.post("/instances", part10)


def build() -> Path | None:
    """The folder of the static OHIF that scripts/ohif.sh fetches, or None without one."""
    found = sorted((ROOT / "build").glob("ohif-*/index.html"))
    return found[-1].parent if found else None


def what_is_missing() -> str | None:
    """What the PACS or its viewer lack here, or None where they can run."""
    needed = {
        "orthanc": orthanc.EXECUTABLE,
        "orthanc-dicomweb": PLUGIN.exists(),
        "nginx": NGINX,
        "chromium": BROWSER,
        "OHIF": build(),
    }
    missing = [name for name, found in needed.items() if not found]
    return f"{', '.join(missing)} not installed; make test-viewers does" if missing else None


@contextmanager
def pacs_with_viewer(folder: Path, free_ports: Callable[[], int]) -> Iterator[Pacs]:
    """Run Orthanc and nginx in ``folder``; both are ended by their process ids."""
    pacs = orthanc.Orthanc(
        folder / "orthanc",
        http_port=free_ports(),
        dicom_port=free_ports(),
        node_port=free_ports(),
    )
    settings = folder / "orthanc" / "orthanc.json"
    settings.write_text(json.dumps({**json.loads(settings.read_text()), **SETTINGS}))
    try:
        pacs.start()
        with _nginx(folder / "nginx", port=free_ports(), orthanc_http=pacs.http) as viewer:
            yield Pacs(orthanc=pacs, viewer=viewer)
    finally:
        pacs.stop()


@contextmanager
def _nginx(folder: Path, *, port: int, orthanc_http: str) -> Iterator[str]:
    folder.mkdir()
    (folder / "app-config.js").write_text(f"window.config = {json.dumps(VIEWER)};\n")
    configuration = folder / "nginx.conf"
    configuration.write_text(
        CONFIGURATION.format(
            # Started as root it would give its worker to a user who may not read our folders.
            user="user root;" if os.geteuid() == 0 else "",
            folder=folder,
            port=port,
            pages=build(),
            orthanc=orthanc_http,
        )
    )
    assert NGINX is not None
    process = subprocess.Popen(
        [NGINX, "-c", str(configuration), "-p", str(folder), "-e", str(folder / "nginx.log")]
    )
    try:
        viewer = f"http://127.0.0.1:{port}"
        _await(viewer + "/app-config.js", process)
        yield viewer
    finally:
        process.terminate()
        process.wait(timeout=20)


def _await(address: str, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + 20
    while time.monotonic() < end and process.poll() is None:
        try:
            with urllib.request.urlopen(address, timeout=5):
                return
        except (urllib.error.URLError, ConnectionError):
            time.sleep(0.05)
    raise RuntimeError(f"nothing answers at {address}")
