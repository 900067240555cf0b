"""Whether a Parametric Map lies on the PET, holds shares of 1 and says of which prediction."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import numpy as np
from pydicom.sr.codedict import codes

from node.dicom import codes as ours
from node.dicom.lint import evidence, segments, tree
from node.dicom.lint.faults import Found, Rule
from node.dicom.lint.identity import own_equipment
from node.dicom.lint.images import Source
from node.dicom.lint.items import Item, numbers, whole
from node.dicom.lint.place import derived_from, unindexed, wrong_place
from node.dicom.lint.tree import Node, concept, key

_FORM: Final = {
    "SamplesPerPixel": 1,
    "PhotometricInterpretation": "MONOCHROME2",
    "BitsAllocated": 32,
    "PixelPresentation": "MONOCHROME",
}
_PRESENT: Final = ("ContentLabel", "ContentDescription", "ImageComments", "BurnedInAnnotation")
_LINEAR: Final = {
    "RealWorldValueSlope": 1.0,
    "RealWorldValueIntercept": 0.0,
    "DoubleFloatRealWorldValueFirstValueMapped": 0.0,
    "DoubleFloatRealWorldValueLastValueMapped": 1.0,
}
_TRACKING: Final = (codes.DCM.TrackingIdentifier, codes.DCM.TrackingUniqueIdentifier)
_ALGORITHM: Final = (
    (codes.DCM.AlgorithmName, "ManufacturerModelName"),
    (codes.DCM.AlgorithmVersion, "SoftwareVersions"),
)


def wrong_saliency(
    dataset: Item, source: Source, maps: Sequence[Item], reports: Sequence[Node]
) -> Iterator[Found]:
    """Yield everything that makes a map wrong or invisible.

    ``maps`` are all that go out together, this one among them, and ``reports`` all reports.
    """
    frames = segments.frames_of(dataset)
    yield from _wrong_form(dataset)
    yield from _wrong_numbers(dataset, len(frames))
    yield from _wrong_mapping(dataset, reports)
    yield from unindexed(dataset)
    yield from wrong_place(dataset, frames, source)
    yield from _wrong_planes(dataset, frames, source)
    uids = Counter(uid for one in maps for uid in _tracking_uids(one))
    if any(uids[uid] > 1 for uid in _tracking_uids(dataset)):
        yield Rule.TRACKING, "two maps are tracked as one"


def uncited(report: Item, maps: Mapping[str, Item]) -> Iterator[Found]:
    """Yield where a report leaves a map out of its evidence."""
    if set(maps) - evidence.cited(report):
        yield Rule.EVIDENCE, "a map is no evidence of the report"


def _wrong_form(dataset: Item) -> Iterator[Found]:
    """Yield what no viewer, or not every viewer, shows, and what a reader would not be told."""
    for keyword, value in _FORM.items():
        if dataset.get(keyword) != value:
            yield Rule.PIXELS, f"{keyword} is not {value}"
    for keyword in _PRESENT:
        if not dataset.get(keyword):
            yield Rule.TEMPLATE, f"{keyword} is empty"
    if dataset.get("ContentQualification") != "RESEARCH":
        yield Rule.TEMPLATE, "it is not qualified as RESEARCH"
    yield from _wrong_display(dataset)


def _wrong_display(dataset: Item) -> Iterator[Found]:
    for keyword in ("FrameAnatomySequence", "ParametricMapFrameTypeSequence"):
        if not _shared(dataset, keyword):
            yield Rule.TEMPLATE, f"{keyword} is absent"
    windows = [
        (*numbers(one, "WindowCenter"), *numbers(one, "WindowWidth"), one.get("VOILUTFunction"))
        for one in _shared(dataset, "FrameVOILUTSequence")
    ]
    if windows != [(0.5, 1.0, "LINEAR_EXACT")]:
        yield Rule.VIEWER, "the window does not show 0 to 1"


def _wrong_numbers(dataset: Item, frames: int) -> Iterator[Found]:
    voxels = np.frombuffer(dataset.get("FloatPixelData") or b"", dtype="<f4")
    size = int(dataset.get("Rows") or 0) * int(dataset.get("Columns") or 0)
    if whole(dataset, "NumberOfFrames") != frames:
        yield Rule.PIXELS, "there are not as many frames as descriptions of frames"
    if not len(voxels) or len(voxels) != size * (whole(dataset, "NumberOfFrames") or 0):
        yield Rule.PIXELS, "Float Pixel Data does not fit rows, columns and frames"
        return
    least, greatest = voxels.min(), voxels.max()  # what is no number makes either no number
    if not (least >= 0 and greatest <= 1):
        yield Rule.NUMBER, "a voxel is no number from 0 to 1"
    elif greatest == 0:
        yield Rule.PIXELS, "the map is empty"


def _wrong_mapping(dataset: Item, reports: Sequence[Node]) -> Iterator[Found]:
    """Yield where the numbers of the voxels are not what a reader would take them for."""
    mappings = _shared(dataset, "RealWorldValueMappingSequence")
    if len(mappings) != 1:
        yield Rule.TEMPLATE, "there is not one mapping to numbers that all frames share"
        return
    (mapping,) = mappings
    if any(mapping.get(keyword) != value for keyword, value in _LINEAR.items()):
        yield Rule.NUMBER, "the numbers are not the voxels, 0 to 1"
    if concept(mapping, "MeasurementUnitsCodeSequence") != key(codes.UCUM.NoUnits):
        yield Rule.UNIT, "the unit is not 1"
    yield from _wrong_definition(dataset, _definition(mapping), reports)


def _wrong_definition(dataset: Item, told: Node, reports: Sequence[Node]) -> Iterator[Found]:
    """Yield where the quantity is not told, nor by whom, nor for which prediction of a report."""
    quantities = [node.code for node in told.named(key(codes.SCT.Quantity))]
    if quantities != [key(codes.DCM.GradientWeightedClassActivation)]:
        yield Rule.TEMPLATE, "the quantity is not told"
    if any([bool(node.text) for node in told.named(key(name))] != [True] for name in _TRACKING):
        yield Rule.TRACKING, "the map is not tracked"
    for name, keyword in _ALGORITHM:
        texts = [node.text for node in told.named(key(name))]
        if texts != [str(own_equipment(dataset).get(keyword))]:
            yield Rule.EQUIPMENT, f"{name.meaning} differs from Contributing Equipment"
    yield from _unpredicted(told, reports)


def _unpredicted(told: Node, reports: Sequence[Node]) -> Iterator[Found]:
    predictions = [node.code for node in told.named(key(ours.EXPLAINED))]
    if len(predictions) != 1:
        yield Rule.TRACKING, "it does not say which prediction it explains"
    elif reports and not any(report.below(*predictions) for report in reports):
        yield Rule.TRACKING, "it explains a prediction that no report holds"


def _wrong_planes(
    dataset: Item, frames: Sequence[segments.Frame], source: Source
) -> Iterator[Found]:
    """Yield where it is not on the PET, nor on one plane after the other along the normal."""
    on = derived_from(dataset, source)
    if on is None:
        return
    if on.series.modality != "PT":
        yield Rule.EVIDENCE, "it is not on the PET"
    index = {(p.sop_instance_uid, p.frame): n for n, p in enumerate(on.series.planes)}
    shown = [index[frame.source] for frame in frames if frame.source in index]
    if shown and shown != list(range(shown[0], shown[0] + len(frames))):
        yield (
            Rule.VIEWER,
            "its frames do not follow the planes: some readers take them as they come",
        )


def _shared(dataset: Item, keyword: str) -> list[Item]:
    """Return the items of a functional group that all frames share."""
    groups = dataset.get("SharedFunctionalGroupsSequence", [])
    return [item for group in groups for item in group.get(keyword, [])]


def _definition(mapping: Item) -> Node:
    """Return what the quantity is told to be, as the children of one node."""
    return tree.read({"ContentSequence": mapping.get("QuantityDefinitionSequence", [])})


def _tracking_uids(dataset: Item) -> list[str]:
    name = key(codes.DCM.TrackingUniqueIdentifier)
    mappings = _shared(dataset, "RealWorldValueMappingSequence")
    return [node.text for one in mappings for node in _definition(one).named(name)]
