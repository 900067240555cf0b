"""Writing: what is made of the findings of a large study, and the SEG beside highdicom's own."""

import io
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import highdicom as hd
import numpy as np
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes

from inference.analyze import analyze
from inference.findings import Findings
from inference.petct import PetCt
from inference.stages import recorded
from node import bootstrap
from node.analysis import Recipe
from node.config import Settings
from node.dicom import results, seg, series, source, volumes
from node.dicom.provenance import of_findings
from node.dicom.series import Choice
from node.instance import ResultKind, ResultObject
from tests.bench import study
from tests.bench.measure import OURS, Measure, Plan, Sample, compare, interleave

SECTION = "Write"
PARTS = {
    "segmentation": "SEG",
    "saliency": "parametric maps",
    "report": "SR",
    "key_image": "key image",
}
KINDS = {ResultKind.SEGMENTATION, ResultKind.SALIENCY, ResultKind.REPORT, ResultKind.KEY_IMAGE}
KEY = "bench"


@dataclass(frozen=True, kw_only=True, eq=False)
class Analyzed:
    """A study that has been read and measured; its objects are yet to be made."""

    choice: Choice
    petct: PetCt
    findings: Findings
    recipe: Recipe

    @classmethod
    def of(cls, paths: Sequence[Path]) -> "Analyzed":
        recipe = bootstrap.build_recipe(Settings())
        choice = series.choose(paths)
        petct = volumes.load(
            choice,
            contour_names=recipe.selection.contour_names,
            contour_codes=recipe.selection.contour_codes,
        )
        findings = analyze(petct, model=recipe.model, rules=recipe.lesion)
        return cls(choice=choice, petct=petct, findings=findings, recipe=recipe)

    def objects(self) -> tuple[ResultObject, ...]:
        return results.analyzed(
            self.choice,
            self.petct,
            self.findings,
            equipment=self.recipe.equipment,
            key=KEY,
            when=study.STARTED_AT,
            options=self.recipe.options,
        )

    def segmentation(self) -> bytes:
        made = seg.segmentation(
            self.findings.lesions,
            [lesion.on_ct for lesion in self.findings.lesions],
            series=self.choice.ct,
            subject=source.subject_of((self.choice.ct, self.choice.pet)),
            provenance=of_findings(
                self.findings, equipment=self.recipe.equipment, key=KEY, when=study.STARTED_AT
            ),
        )
        return made.part10


def measure(paths: Sequence[Path], plan: Plan) -> list[Measure]:
    """Measure all objects of one study by what they are, then the SEG by itself."""
    analyzed = Analyzed.of(paths)
    found = {one.kind for one in analyzed.objects()}
    if found != KINDS:
        raise RuntimeError(f"the study gave {sorted(found)} in place of {sorted(KINDS)}")
    return [*_by_part(analyzed, plan), *_segs(analyzed, plan)]


def _by_part(analyzed: Analyzed, plan: Plan) -> list[Measure]:
    rounds: list[Mapping[str, float]] = []

    def once() -> Sample:
        with recorded(time.perf_counter) as recording:
            sample = _timed(analyzed.objects)
        rounds.append(recording.seconds)
        return sample

    samples = interleave({OURS: once}, plan)[OURS]
    kept = rounds[-len(samples) :]
    rows = {
        name: tuple(Sample(value=seconds[stage]) for seconds in kept)
        for stage, name in PARTS.items()
    }
    rows["all of them"] = samples
    planes = f"{len(analyzed.choice.ct.planes)} CT and {len(analyzed.choice.pet.planes)} PET images"
    return [
        Measure(section=SECTION, case=f"objects of {planes}", subject=name, unit="s", samples=its)
        for name, its in rows.items()
    ]


def _segs(analyzed: Analyzed, plan: Plan) -> list[Measure]:
    """Both begin with masks on the CT and end with bytes; its source headers are read for it."""
    masks = [lesion.on_ct.mask for lesion in analyzed.findings.lesions]
    images = [dcmread(plane.path, stop_before_pixels=True) for plane in analyzed.choice.ct.planes]
    ways: Mapping[str, Callable[[], bytes]] = {
        OURS: analyzed.segmentation,
        "highdicom, empty frames omitted": lambda: _by_highdicom(images, masks),
    }
    _assert_equal({name: way() for name, way in ways.items()})
    subjects = {name: lambda way=way: _timed(way) for name, way in ways.items()}
    frames = int(np.any(masks, axis=0).any(axis=(1, 2)).sum())
    case = f"SEG of {len(masks)} in {frames} of {len(images)} planes"
    return compare(SECTION, case, "s", interleave(subjects, plan))


def _timed(way: Callable[[], object]) -> Sample:
    spent, started = time.process_time(), time.perf_counter()
    way()
    seconds = time.perf_counter() - started
    return Sample(value=seconds, cpu_ms=(time.process_time() - spent) * 1000)


def _by_highdicom(images: Sequence[Dataset], masks: Sequence[np.ndarray]) -> bytes:
    """What most scripts do: the whole mask, and all images as they are."""
    written = hd.seg.Segmentation(
        source_images=images,
        pixel_array=np.stack(masks, axis=-1).astype(np.uint8),
        segmentation_type="BINARY",
        segment_descriptions=[
            hd.seg.SegmentDescription(
                segment_number=number,
                segment_label=f"lesion {number}",
                segmented_property_category=codes.SCT.MorphologicallyAbnormalStructure,
                segmented_property_type=codes.SCT.Neoplasm,
                algorithm_type="AUTOMATIC",
                algorithm_identification=hd.AlgorithmIdentificationSequence(
                    name="plain", version="1", family=codes.DCM.ArtificialIntelligence
                ),
            )
            for number in range(1, len(masks) + 1)
        ],
        series_instance_uid="2.25.1",
        series_number=901,
        sop_instance_uid="2.25.2",
        instance_number=1,
        manufacturer="plain",
        manufacturer_model_name="plain",
        software_versions="1",
        device_serial_number="1",
        omit_empty_frames=True,
    )
    buffer = io.BytesIO()
    written.save_as(buffer)
    return buffer.getvalue()


def _assert_equal(made: Mapping[str, bytes]) -> None:
    """Times count only where both show the same voxels, whatever the order of their frames."""
    shown = []
    for part10 in made.values():
        dataset = dcmread(io.BytesIO(part10))
        pixels = dataset.pixel_array.reshape(-1, dataset.Rows, dataset.Columns)
        shown.append(sorted(frame.tobytes() for frame in pixels))
    if shown[0] != shown[1]:
        raise RuntimeError("highdicom's Segmentation shows other voxels")
