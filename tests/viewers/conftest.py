"""What OHIF shows of four studies, looked at once for all tests in here."""

import io
import json
import socket
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from pydicom import dcmread

from node.instance import ResultKind
from tests.node_tools import node
from tests.viewers import pacs, studies
from tests.viewers.studies import Analyzed

OUTPUT = pacs.ROOT / "viewers-output"
PATIENCE_S = 45
DEADLINE_S = 240


@pytest.fixture(scope="session")
def analyzed(tmp_path_factory) -> Mapping[str, Analyzed]:
    """The studies by name: positive, oblique, negative, refused."""
    missing = node.what_is_missing() or pacs.what_is_missing()
    if missing:
        pytest.skip(missing)
    recipe = studies.recipe()
    return {
        one.__name__: one(tmp_path_factory.mktemp(one.__name__), recipe)
        for one in (studies.positive, studies.oblique, studies.negative, studies.refused)
    }


@pytest.fixture(scope="session")
def seen(analyzed, tmp_path_factory) -> Mapping[str, Any]:
    """What the page shows, by the name of the screenshot that was taken of it."""
    OUTPUT.mkdir(exist_ok=True)
    for old in OUTPUT.glob("*.png"):
        old.unlink()
    with pacs.pacs_with_viewer(tmp_path_factory.mktemp("pacs"), _free_port) as running:
        for study in analyzed.values():
            for file in study.files:
                running.store(file.read_bytes())
            for one in study.conclusion.objects:
                running.store(one.part10)
        order = {
            "viewer": running.viewer,
            "browser": pacs.BROWSER,
            "folder": str(OUTPUT),
            "patience_ms": PATIENCE_S * 1000,
            "deadline_ms": DEADLINE_S * 1000,
            "looks": _looks(analyzed),
        }
        answer = node.run(
            node.FOLDER / "look.mjs", question=order, timeout_s=DEADLINE_S + PATIENCE_S + 60
        )
    (OUTPUT / "seen.json").write_text(json.dumps(answer, indent=1), encoding="utf-8")
    assert isinstance(answer, Mapping)
    return answer


def _looks(analyzed: Mapping[str, Analyzed]) -> list[dict[str, Any]]:
    positive = analyzed["positive"]
    return [
        *_in_place("positive", positive),
        _look("positive-axes", "editable", positive, ResultKind.EDITABLE),
        _look("positive-key-image", "image", positive, ResultKind.KEY_IMAGE),
        _look("positive-map", "map", positive, ResultKind.SALIENCY),
        *_in_place("oblique", analyzed["oblique"]),
        {
            **_look("negative-report", "text", analyzed["negative"], ResultKind.REPORT),
            "line": "Clinical finding absent",
        },
        {
            **_look("refused-report", "text", analyzed["refused"], ResultKind.REPORT),
            "line": "Not analyzable",
        },
    ]


def _in_place(name: str, study: Analyzed) -> list[dict[str, Any]]:
    """Report and Segmentation, with the points that they are to be drawn at."""
    around = np.concatenate([study.inside, study.outside])
    return [
        {
            **_look(f"{name}-report", "report", study, ResultKind.REPORT),
            "points": study.edge.tolist(),
        },
        {
            **_look(f"{name}-segmentation", "segmentation", study, ResultKind.SEGMENTATION),
            "segment": "primary 1",
            "points": study.in_patient(around).tolist(),
        },
    ]


def _look(name: str, kind: str, study: Analyzed, result: ResultKind) -> dict[str, Any]:
    ds = dcmread(io.BytesIO(study.result(result).part10), stop_before_pixels=True)
    return {
        "name": name,
        "kind": kind,
        "study": ds.StudyInstanceUID,
        "series": ds.SeriesInstanceUID,
        "description": ds.SeriesDescription,
    }


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port
