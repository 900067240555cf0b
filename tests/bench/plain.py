"""The plainest pipeline of the same libraries, as scripts do it: everything whole, step by step.

It is spared the search: it is told which voxel is hottest. Nothing in it is slow on purpose.
"""

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path

import highdicom as hd
import numpy as np
import onnxruntime
import SimpleITK as sitk
from highdicom.sr import (
    Comprehensive3DSR,
    FindingSite,
    Measurement,
    MeasurementReport,
    ObservationContext,
    ObserverContext,
    ReferencedSegment,
    SourceSeriesForSegmentation,
    TrackingIdentifier,
    VolumetricROIMeasurementsAndQualitativeEvaluations,
)
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.uid import generate_uid
from pynetdicom import AE

from inference import bundle as bundles
from inference.bundle import Bundle
from tests.bench.plain_images import key_image, parametric_map

THRESHOLD = 0.41
_opened: list[tuple[Bundle, list[onnxruntime.InferenceSession]]] = []


@dataclass
class Timing:
    """Seconds by step, in their order."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        started = time.perf_counter()
        yield
        self.seconds[name] = time.perf_counter() - started


def open_networks() -> None:
    """Open the bundle's networks, as a service would before the first study."""
    bundle = bundles.load(bundles.default_path())
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = len(os.sched_getaffinity(0))
    sessions = [
        onnxruntime.InferenceSession(
            bundle.onnx_path(task), options, providers=["CPUExecutionProvider"]
        )
        for task in bundle.tasks
    ]
    _opened.append((bundle, sessions))


def run(
    paths: Sequence[Path], hottest: tuple[float, float, float], port: int, *, everything: bool
) -> tuple[Mapping[str, float], float]:
    """From the files of a study to report and Segmentation in the PACS; seconds, and CPU ms.

    ``everything``: a key image and the maps of all tasks are made as well. They are sent when the
    time is taken, as ours are after the report.
    """
    timing, spent = Timing(), time.process_time()
    with timing.step("read files"):
        series = _read(paths)
        ct, pet = _image(series["CT"]), _image(series["PT"]) * _suv_factor(series["PT"][0])
    with timing.step("resample whole volumes"):
        spacing = _opened[0][0].card.inputs.spacing_mm
        pet_on_ct = sitk.Resample(pet, ct)
        even = _even(ct, spacing)
        evenly = [sitk.Resample(one, even) for one in (pet, ct)]
    with timing.step("measure"):
        mask, found = _measured(pet_on_ct, hottest)
    with timing.step("predict"):
        probabilities, looked = _predicted(evenly, found["centre"])
    with timing.step("write SEG of the whole volume, SR"):
        seg = _segmentation(series["CT"], mask)
        report = _report(series["CT"], seg, found["measures"], probabilities)
    more: list[Dataset] = []
    if everything:
        with timing.step("write key image"):
            words = [
                *(f"{name} {value:.4g}" for name, value in found["measures"].items()),
                *(f"probability {chance:.1%}" for chance in probabilities),
            ]
            more.append(key_image(series["CT"], (ct, pet_on_ct), mask, hottest, words))
        with timing.step("write maps"):
            field = _field(found["centre"])
            more += (parametric_map(series["PT"], pet, cells, field) for cells in looked)
    with timing.step("send"):
        _send((seg, report), port)
    cpu_ms = (time.process_time() - spent) * 1000
    if more:
        _send(more, port)
    return timing.seconds, cpu_ms


def _read(paths: Sequence[Path]) -> dict[str, list[Dataset]]:
    series: dict[str, list[Dataset]] = {"CT": [], "PT": []}
    for path in paths:
        dataset = dcmread(path)
        series[dataset.Modality].append(dataset)
    for slices in series.values():
        slices.sort(key=lambda one: float(one.ImagePositionPatient[2]))
    return series


def _image(slices: Sequence[Dataset]) -> sitk.Image:
    image = sitk.GetImageFromArray(
        np.stack(
            [
                one.pixel_array.astype(np.float32) * np.float32(one.RescaleSlope)
                + np.float32(one.RescaleIntercept)
                for one in slices
            ]
        )
    )
    first, second = (one.ImagePositionPatient for one in slices[:2])
    down, along = map(float, slices[0].PixelSpacing)
    image.SetSpacing((along, down, float(second[2]) - float(first[2])))
    image.SetOrigin([float(one) for one in first])
    return image


def _suv_factor(header: Dataset) -> float:
    tracer = header.RadiopharmaceuticalInformationSequence[0]
    waited_s = _seconds(header.SeriesTime) - _seconds(tracer.RadiopharmaceuticalStartTime)
    half_lives = waited_s / float(tracer.RadionuclideHalfLife)
    left_bq = float(tracer.RadionuclideTotalDose) * 2**-half_lives
    return float(header.PatientWeight) * 1000 / left_bq


def _seconds(time_of_day: str) -> float:
    text = str(time_of_day)
    return int(text[:2]) * 3600 + int(text[2:4]) * 60 + float(text[4:])


def _even(image: sitk.Image, spacing: float) -> sitk.Image:
    """An empty grid of even voxels over the whole of an image."""
    pairs = zip(image.GetSize(), image.GetSpacing(), strict=True)
    size = [int(count * step / spacing) for count, step in pairs]
    grid = sitk.Image(size, sitk.sitkUInt8)
    grid.SetSpacing([spacing] * 3)
    grid.SetOrigin(image.GetOrigin())
    return grid


def _measured(
    pet_on_ct: sitk.Image, hottest: tuple[float, float, float]
) -> tuple[np.ndarray, dict]:
    seed = pet_on_ct.TransformPhysicalPointToIndex(hottest)
    lower = THRESHOLD * pet_on_ct[seed]
    region = sitk.ConnectedThreshold(pet_on_ct, [seed], lower=lower, upper=1e6)
    shape = sitk.LabelIntensityStatisticsImageFilter()
    shape.Execute(region, pet_on_ct)
    measures = {
        "suv_max": shape.GetMaximum(1),
        "suv_mean": shape.GetMean(1),
        "volume_mm3": shape.GetPhysicalSize(1),
    }
    found = {"centre": shape.GetCentroid(1), "measures": measures}
    return sitk.GetArrayFromImage(region), found


def _predicted(
    evenly: Sequence[sitk.Image], centre: tuple[float, float, float]
) -> tuple[list[float], list[np.ndarray]]:
    """The probability of each task, and where its network looked."""
    bundle, sessions = _opened[0]
    inputs = bundle.card.inputs
    reach, fed = np.arange(inputs.crop_side) - inputs.crop_side // 2, {}
    for name, image, channel in zip(("pet", "ct"), evenly, (inputs.pet, inputs.ct), strict=True):
        values = sitk.GetArrayViewFromImage(image)
        z, y, x = image.TransformPhysicalPointToIndex(centre)[::-1]
        pairs = zip((z, y, x), values.shape, strict=True)
        zs, ys, xs = (np.clip(at + reach, 0, count - 1) for at, count in pairs)
        planes = np.stack(
            [
                values[z][np.ix_(ys, xs)],
                values[:, y][np.ix_(zs, xs)],
                values[:, :, x][np.ix_(zs, ys)],
            ]
        )
        fed[name] = ((planes.clip(*channel.clip) - channel.mean) / channel.sd)[None].astype("f4")
    told = [session.run(["logits", "saliency"], fed) for session in sessions]
    margins = [float(np.diff(logits[0])[0]) for logits, _ in told]
    return [1 / (1 + np.exp(-margin)) for margin in margins], [cells[0] for _, cells in told]


def _field(centre: tuple[float, float, float]) -> sitk.Image:
    """The cube that the networks see around a point."""
    inputs = _opened[0][0].card.inputs
    field = sitk.Image([inputs.crop_side] * 3, sitk.sitkFloat32)
    field.SetSpacing([inputs.spacing_mm] * 3)
    field.SetOrigin([at - inputs.crop_side // 2 * inputs.spacing_mm for at in centre])
    return field


def _segmentation(images: Sequence[Dataset], mask: np.ndarray) -> Dataset:
    algorithm = hd.AlgorithmIdentificationSequence(
        name="plain", version="1", family=codes.DCM.ArtificialIntelligence
    )
    return hd.seg.Segmentation(
        source_images=images,
        pixel_array=mask.astype(np.uint8),
        segmentation_type="BINARY",
        segment_descriptions=[
            hd.seg.SegmentDescription(
                segment_number=1,
                segment_label="primary",
                segmented_property_category=codes.SCT.MorphologicallyAbnormalStructure,
                segmented_property_type=codes.SCT.Neoplasm,
                algorithm_type="AUTOMATIC",
                algorithm_identification=algorithm,
            )
        ],
        series_instance_uid=generate_uid(),
        series_number=901,
        sop_instance_uid=generate_uid(),
        instance_number=1,
        manufacturer="plain",
        manufacturer_model_name="plain",
        software_versions="1",
        device_serial_number="1",
        omit_empty_frames=False,
    )


def _report(
    images: Sequence[Dataset], seg: Dataset, found: Mapping[str, float], chances: Sequence[float]
) -> Dataset:
    observer = ObserverContext(
        codes.DCM.Device, hd.sr.DeviceObserverIdentifyingAttributes(uid=generate_uid())
    )
    g_ml = codes.UCUM.StandardizedUptakeValueBodyWeight
    probability = hd.sr.CodedConcept("PROBABILITY", "99PLAIN", "Probability")
    group = VolumetricROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=TrackingIdentifier(generate_uid(), "primary 1"),
        referenced_segment=ReferencedSegment(
            seg.SOPClassUID,
            seg.SOPInstanceUID,
            segment_number=1,
            source_series=SourceSeriesForSegmentation(images[0].SeriesInstanceUID),
        ),
        finding_type=codes.SCT.Neoplasm,
        finding_sites=[FindingSite(codes.SCT.Lung)],
        measurements=[
            Measurement(codes.DCM.Suvbw, found["suv_max"], g_ml, derivation=codes.SCT.Maximum),
            Measurement(codes.DCM.Suvbw, found["suv_mean"], g_ml, derivation=codes.SCT.Mean),
            Measurement(codes.SCT.Volume, found["volume_mm3"], codes.UCUM.CubicMillimeter),
            *(Measurement(probability, chance, codes.UCUM.NoUnits) for chance in chances),
        ],
    )
    content = MeasurementReport(
        observation_context=ObservationContext(observer_device_context=observer),
        procedure_reported=codes.LN.PETWholeBody,
        imaging_measurements=[group],
    )
    return Comprehensive3DSR(
        evidence=[seg, *images],
        content=content[0],
        series_instance_uid=generate_uid(),
        series_number=902,
        sop_instance_uid=generate_uid(),
        instance_number=1,
        manufacturer="plain",
    )


def _send(objects: Sequence[Dataset], port: int) -> None:
    entity = AE(ae_title="PLAIN")
    for one in objects:
        entity.add_requested_context(one.SOPClassUID, one.file_meta.TransferSyntaxUID)
    association = entity.associate("127.0.0.1", port)
    for one in objects:
        written = BytesIO()
        one.save_as(written)  # what is sent is kept, as with us
        status = association.send_c_store(one)
        if status.get("Status") != 0:
            raise RuntimeError(f"the PACS answered {status}")
    association.release()
