"""What programs that we did not write say of the objects that we did."""

import json
from pathlib import Path

import highdicom as hd
import numpy as np
import pytest
import SimpleITK as sitk

from tests import made_study

REPORTS = [
    "one SR",
    "two SR",
    "frames SR",
    "tiny SR",
    "negative SR",
    "refusal SR",
    "superseding SR",
    "superseding SR-EDIT",
]
REJECTION = "superseding KOS"
SEGMENTATIONS = ["one SEG", "two SEG", "frames SEG"]
KEY_IMAGES = ["one SC", "negative SC", "rotating SC-MIP"]
MAPS = ["maps PM occult_n1", "maps PM occult_n2", "maps-of-frames PM occult_n1"]
PIXELMED = Path("/usr/share/java/pixelmed.jar")
# The JDK's limits on XPath, which the validator's compiled rules exceed, and a quick start.
JAVA = [
    "-Djdk.xml.xpathExprGrpLimit=0",
    "-Djdk.xml.xpathExprOpLimit=0",
    "-Djdk.xml.xpathTotalOpLimit=0",
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
]


def errors(said: str) -> list[str]:
    return [line for line in said.splitlines() if line.startswith("Error")]


@pytest.mark.parametrize("name", [*REPORTS, REJECTION, *SEGMENTATIONS, *KEY_IMAGES, *MAPS])
def test_dciodvfy_finds_no_error(judge, written, name):
    said = judge("dciodvfy", written[name])

    assert errors(said) == []
    known = ("SR", "Segmentation", "SCImage", "KeyObjectSelectionDocument", "ParametricMap")
    assert any(word in said for word in known), said[:200]


def test_dcentvfy_finds_patient_and_study_the_same_as_in_the_source(judge, made, written):
    sources = [made.choice.ct.paths[0], made.choice.pet.paths[0]]

    ours = [
        "one SEG",
        "one SR",
        "one SC",
        "rotating SC-MIP",
        "superseding SR-EDIT",
        REJECTION,
        *MAPS[:2],
    ]
    said = judge("dcentvfy", *sources, *(written[name] for name in ours))

    # It counts the Accession Number to the series in one IOD and to the study in the other.
    assert [line for line in said.splitlines() if "<AccessionNumber>" not in line] == []


@pytest.mark.parametrize("name", [*REPORTS, REJECTION])
def test_dsrdump_reads_the_content_tree(judge, written, name):
    said = judge("dsrdump", written[name])

    assert not [line for line in said.splitlines() if line.startswith(("E:", "F:"))]
    assert "Measurement Report" in said or "Data Retention Policy Expired" in said


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    # A tiny lesion's report is built as any with one lesion; a single contour would be an error.
    ["tiny SR", "negative SR", "refusal SR", "superseding SR", "superseding SR-EDIT", REJECTION],
)
def test_pixelmed_finds_no_error_in_the_template(judge, written, name):
    if not PIXELMED.exists():
        pytest.skip("libpixelmed-java is not installed; scripts/system-packages.sh installs it")
    said = judge(
        "java", *JAVA, "-cp", PIXELMED, "com.pixelmed.validate.DicomSRValidator", written[name]
    )

    assert "Root Template Validation Complete" in said
    assert errors(said) == []


@pytest.mark.parametrize("name", SEGMENTATIONS)
def test_dcmqi_reads_the_voxels_where_we_put_them(judge, written, made, tmp_path, name):
    lesion = made.findings.lesions[0]
    region = lesion.on_pet if name.startswith("two") else lesion.on_ct

    judge(
        "segimage2itkimage",
        *("--inputDICOM", written[name]),
        *("--outputDirectory", tmp_path),
        *("--prefix", "p", "--outputType", "nrrd"),
    )

    image = sitk.ReadImage(str(tmp_path / "p-1.nrrd"))
    found = np.argwhere(sitk.GetArrayFromImage(image))
    assert len(found) == region.voxel_count
    where = np.array([image.TransformIndexToPhysicalPoint(tuple(map(int, f[::-1]))) for f in found])
    ours = region.grid.to_patient(np.argwhere(region.mask))
    assert np.allclose(where.mean(axis=0), ours.mean(axis=0), atol=1e-3)
    assert np.allclose(where.min(axis=0), ours.min(axis=0), atol=1e-3)


@pytest.mark.parametrize("name", MAPS)
def test_dcmqi_reads_the_map_where_we_put_it(judge, written, made, tmp_path, name):
    maps = made_study.with_saliency(made).findings.saliency
    (ours,) = [one.on_pet for one in maps if name.endswith(one.task)]

    judge(
        "paramap2itkimage",
        *("--inputDICOM", written[name]),
        *("--outputDirectory", tmp_path),
        *("--prefix", "p", "--outputType", "nrrd"),
    )

    image = sitk.ReadImage(str(tmp_path / "p-pmap.nrrd"))
    voxels = sitk.GetArrayFromImage(image)
    assert image.GetSize()[2] == len(made.choice.pet.planes)
    found = np.argwhere(voxels > 0)
    where = [image.TransformIndexToPhysicalPoint(tuple(map(int, f[::-1]))) for f in found]
    at = np.rint(ours.grid.to_indices(where)).astype(int)
    assert np.count_nonzero(ours.voxels) == len(found)
    assert np.array_equal(voxels[tuple(found.T)], ours.voxels[tuple(at.T)])
    told = json.loads((tmp_path / "p-meta.json").read_text())
    assert told["QuantityValueCode"]["CodeValue"] == "130403"
    assert told["MeasurementUnitsCode"]["CodeValue"] == "1"


def test_dcmqi_reads_the_numbers_of_the_lesion(judge, written, tmp_path):
    target = tmp_path / "report.json"

    judge("tid1500reader", "--inputDICOM", written["one SR"], "--outputMetadata", target)

    n1, _, group, *_ = json.loads(target.read_text())["Measurements"]
    numbers = {
        (item["quantity"]["CodeMeaning"], item.get("derivationModifier", {}).get("CodeMeaning")): (
            float(item["value"]),
            item["units"]["CodeValue"],
        )
        for one in (n1, group)
        for item in one["measurementItems"]
    }
    assert group["TrackingIdentifier"] == "primary 1"
    assert group["ReferencedSegment"] == 1
    assert group["Finding"]["CodeMeaning"] == "Neoplasm, Primary"
    assert numbers["SUVbw", "Maximum"] == (18.12, "g/ml{SUVbw}")
    assert numbers["SUVbw", "Mean"] == (12.5, "g/ml{SUVbw}")
    assert numbers["SUVbw", "Peak Value Within ROI"] == (15.75, "g/ml{SUVbw}")
    assert numbers["Metabolic Volume", None] == (20.0, "ml")
    assert numbers["Total Lesion Glycolysis", None] == (250.0, "g")
    assert numbers["Volume", None] == (33.51, "ml")
    assert numbers["Diameter", "Maximum"] == (41.3, "mm")
    assert numbers["Probability of occult N1 metastasis", None] == (62.3, "%")
    assert n1["TrackingUniqueIdentifier"] == group["TrackingUniqueIdentifier"]


def test_highdicom_reads_report_and_segmentation_as_the_same_lesion(read, written):
    report = hd.sr.srread(read(written["one SR"]))
    segment = hd.seg.segread(read(written["one SEG"])).SegmentSequence[0]

    groups = report.content.get_volumetric_roi_measurement_groups()

    assert {group.tracking_uid for group in groups} == {segment.TrackingUID}
    assert {group.tracking_identifier for group in groups} == {segment.TrackingID}
    assert len(report.content.get_planar_roi_measurement_groups()) == 2
