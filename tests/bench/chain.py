"""The whole chain: files of one study in, findings and result objects out, seconds by stage."""

import time
from collections.abc import Sequence
from pathlib import Path

from node import bootstrap
from node.analysis import StudyOnDisk, conclude
from node.config import Settings
from tests.bench.measure import OURS, Measure, Plan, Sample, interleave
from tests.bench.study import STARTED_AT

SECTION = "Whole chain"
STAGES = {
    "read": "read files",
    "locate": "find and measure",
    "infer": "predict",
    "write": "write SR, SEG, maps, key image",
    "check": "check what was written",
}


def measure(paths: Sequence[Path], study_instance_uid: str, plan: Plan) -> list[Measure]:
    """Measure ``conclude`` with a model that is open and warm, as a worker has it."""
    recipe = bootstrap.build_recipe(Settings())
    study = StudyOnDisk(study_instance_uid=study_instance_uid, paths=paths, key="bench")
    stages: list[dict[str, float]] = []

    def once() -> Sample:
        spent, started = time.process_time(), time.perf_counter()
        conclusion = conclude(study, recipe, when=STARTED_AT, clock=time.perf_counter)
        seconds = time.perf_counter() - started
        cpu = time.process_time() - spent
        if conclusion.findings is None or not conclusion.findings.lesions or not conclusion.objects:
            raise RuntimeError(f"the study gave no results: {conclusion.reasons}")
        stages.append(dict(conclusion.findings.timings_s))
        return Sample(value=seconds, cpu_ms=cpu * 1000)

    samples = interleave({OURS: once}, plan)[OURS]
    kept = stages[-len(samples) :]
    rows = {
        STAGES.get(stage, stage): tuple(Sample(value=one[stage]) for one in kept)
        for stage in kept[0]
    }
    rows["all of it"] = samples
    return [
        Measure(section=SECTION, case="seconds by stage", subject=stage, unit="s", samples=its)
        for stage, its in rows.items()
    ]
