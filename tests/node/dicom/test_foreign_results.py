"""What comes back to the node, and what a reader made of it, decides the lesion and is told."""

import io
import time
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest
from pydicom import dcmread

from inference.phantom import draw, random_phantom, with_nodes
from inference.scanner import SCANNERS
from node import bootstrap
from node.analysis import StudyOnDisk, conclude
from node.config import Settings
from node.dicom import acquire
from node.instance import ResultKind
from tests.node.dicom.minimal import code

STARTED_AT = datetime(2026, 1, 2, 10, 15, tzinfo=UTC)
PHANTOM = with_nodes(random_phantom(5), n1=1, n2=1)

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("foreign-results")]


class Site:
    """A study on disk, and what the node makes of it together with further objects."""

    def __init__(self, folder):
        self.folder = folder
        settings = Settings()
        recipe = bootstrap.build_recipe(settings)
        self.recipe = replace(recipe, options=replace(recipe.options, key_image=False))
        petct = draw(PHANTOM, SCANNERS["small"])
        self.study_instance_uid = petct.study_instance_uid
        study = acquire.Study.of_phantom(PHANTOM.seed, STARTED_AT)
        self.images = acquire.write(petct, folder, habit=acquire.Habit.SIEMENS, study=study)
        self.first = self.analysed()

    def analysed(self, *documents):
        paths = list(self.images)
        for index, ds in enumerate(documents):
            paths.append(self.folder / f"document {index}.dcm")
            ds.save_as(paths[-1], enforce_file_format=True)
        study = StudyOnDisk(
            study_instance_uid=self.study_instance_uid, paths=paths, key=f"{len(documents)}"
        )
        return conclude(study, self.recipe, when=STARTED_AT, clock=time.perf_counter)

    def made(self, kind):
        """An object of the first analysis, to be changed."""
        (part10,) = (one.part10 for one in self.first.objects if one.kind is kind)
        return dcmread(io.BytesIO(part10))


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    return Site(tmp_path_factory.mktemp("site"))


def warnings(conclusion):
    return [reason["code"] for reason in conclusion.document["warnings"]]


def test_our_own_results_that_a_pacs_sends_back_change_nothing_but_a_warning(site):
    again = site.analysed(site.made(ResultKind.SEGMENTATION), site.made(ResultKind.REPORT))

    before, after = site.first.document["lesions"], again.document["lesions"]
    assert after == before
    assert set(warnings(again)) - set(warnings(site.first)) == {"CONTOUR_OWN"}


def test_a_segment_that_a_reader_corrected_is_measured_instead(site):
    """One slice of the tumour was erased in a workstation, and the result saved as its own."""
    seg = site.made(ResultKind.SEGMENTATION)
    seg.Manufacturer, seg.ManufacturerModelName = "Editor", "Workstation"
    stored = seg.pixel_array.copy()
    segment_of = [
        frame.SegmentIdentificationSequence[0].ReferencedSegmentNumber
        for frame in seg.PerFrameFunctionalGroupsSequence
    ]
    erased = segment_of.index(1)
    less = np.count_nonzero(stored[erased])
    stored[erased] = 0
    seg.PixelData = np.packbits(stored.ravel(), bitorder="little").tobytes()
    for item in seg.SegmentSequence:
        item.SegmentAlgorithmType = "SEMIAUTOMATIC"

    corrected = site.analysed(seg)

    primary, before = corrected.findings.primary, site.first.findings.primary
    assert primary.source == "SEG"
    assert primary.on_ct.voxel_count == before.on_ct.voxel_count - less
    assert primary.explanation == (
        'drawn before: the region "primary 1" of the SEG that came with the study; '
        "the first of 3 by who drew it, extent, name and code"
    )
    assert "CONTOUR_SEVERAL" in warnings(corrected)
    assert seg.SOPInstanceUID in evidence(corrected)


def evidence(conclusion):
    (part10,) = (one.part10 for one in conclusion.objects if one.kind is ResultKind.REPORT)
    report = dcmread(io.BytesIO(part10))
    return {
        one.ReferencedSOPInstanceUID
        for study in report.CurrentRequestedProcedureEvidenceSequence
        for series in study.ReferencedSeriesSequence
        for one in series.ReferencedSOPSequence
    }


def marked(site, label, *, by_person):
    """Our report as another system's, with one contour and no segment: ``label`` is the primary."""
    report = site.made(ResultKind.REPORT)
    report.Manufacturer, report.ManufacturerModelName = "Maker", "Reader"
    observer = next(
        item
        for item in report.ContentSequence
        if item.ConceptNameCodeSequence[0].CodeValue == "121005"
    )
    if by_person:
        observer.ConceptCodeSequence = [code("121006", "DCM", "Person")]
    for container in report.ContentSequence:
        if container.ConceptNameCodeSequence[0].CodeValue == "126010":
            container.ContentSequence = [
                group for group in container.ContentSequence if has_contour_of(group, label)
            ]
            for group in container.ContentSequence:
                tracking = group.ContentSequence[0]
                tracking.TextValue = "GTV"
    return report


def has_contour_of(group, label):
    children = group.get("ContentSequence", [])
    named = any(str(child.get("TextValue", "")) == label for child in children)
    return named and any(child.ValueType == "SCOORD" for child in children)


def test_a_reader_s_contour_on_one_plane_chooses_another_focus(site):
    """The focus keeps its own extent: a contour on one plane has none."""
    focus = site.first.findings.lesions[1]

    chosen = site.analysed(marked(site, f"{focus.label} 2", by_person=True))

    primary = chosen.findings.primary
    assert np.array_equal(primary.on_pet.mask, focus.on_pet.mask)
    assert primary.explanation.startswith("the avid focus in the")
    assert 'the region "GTV" of the SR' in primary.explanation
    assert "CONTOUR_PLANAR" in warnings(chosen)


def test_the_same_contour_by_an_algorithm_is_told_as_such(site):
    focus = site.first.findings.lesions[1]

    chosen = site.analysed(marked(site, f"{focus.label} 2", by_person=False))

    assert "an algorithm of Maker Reader drew it" in chosen.findings.primary.explanation
    assert {"CONTOUR_AUTO", "CONTOUR_PLANAR"} <= set(warnings(chosen))
