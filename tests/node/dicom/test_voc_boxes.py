"""Boxes of Pascal VOC files lie where the image they are named after lies."""

from dataclasses import replace

import numpy as np
import pytest

from inference.lesion import LesionRules, locate
from inference.petct import GivenRegion, RegionSource
from inference.phantom import draw, random_phantom, tumour_region
from inference.scanner import SCANNERS
from inference.volume import Region
from node.dicom.geometry import plane_geometry
from node.dicom.series import choose
from node.dicom.voc_boxes import FILE_BYTES_MOST, Box, marked_region, read_boxes
from node.dicom.volumes import load
from node.errors import NotUnderstood
from tests.node.cli.collections import annotation, ct_alone, petct
from tests.node.dicom.minimal import save

UID = "1.2.3.3.2"


def marked(folder, boxes, images):
    """The mark on the CT of a tiny study, of boxes that may lie on any of the images."""
    study = petct("1.2.3", "P")
    files = {ds.SOPInstanceUID: path for ds, path in zip(study, save(folder, study), strict=True)}
    choice = choose(tuple(files.values()))
    files |= {
        ds.SOPInstanceUID: path for ds, path in zip(images, save(folder, images), strict=True)
    }
    ct = load(choice, contour_names=(), contour_codes=()).ct.grid
    return marked_region(boxes, files, ct, series_instance_uid="1.2.3.3")


def test_a_box_holds_the_pixels_from_its_first_to_its_last(tmp_path):
    path = annotation(tmp_path, UID, (2, 4), (5, 6))

    found = marked(tmp_path, read_boxes(path), [])

    assert np.argwhere(found.given.region.mask).tolist() == [
        [1, row, column] for row in (2, 3, 4) for column in (5, 6)
    ]
    assert (found.placed, found.elsewhere) == (1, 0)
    assert found.given.marks_only
    assert found.given.source is RegionSource.BOX


def test_a_box_on_another_series_of_the_same_frame_lies_at_the_same_place(tmp_path):
    """A reconstruction of twice the pixels: rows 4 to 9 of 2 mm are rows 2 to 4 of 4 mm."""
    fine = petct("1.2.3", "P")[6:7]
    for ds in fine:
        ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = "1.2.7.1"
        ds.PixelSpacing = [2.0, 2.0]
        ds.ImagePositionPatient = [-15.0, -15.0, ds.ImagePositionPatient[2]]
        ds.Rows = ds.Columns = 16
    path = annotation(tmp_path, "1.2.7.1", (4, 9), (10, 13), size=16)

    found = marked(tmp_path, read_boxes(path), fine)

    assert plane_geometry(fine[0]).position == (-15.0, -15.0, 4.0)
    assert np.argwhere(found.given.region.mask).tolist() == [
        [1, row, column] for row in (2, 3, 4) for column in (5, 6)
    ]


def test_boxes_that_overlap_join_instead_of_cutting_holes(tmp_path):
    """The same box twice, as in two reconstructions, and one that overlaps it by a pixel."""
    path = annotation(tmp_path, UID, (2, 4), (5, 6))
    (box,) = read_boxes(path)
    beside = replace(box, columns=(5.5, 7.5))

    found = marked(tmp_path, [box, box, beside], [])

    assert np.argwhere(found.given.region.mask).tolist() == [
        [1, row, column] for row in (2, 3, 4) for column in (5, 6, 7)
    ]
    assert found.placed == 3


def test_what_cannot_be_placed_is_counted(tmp_path):
    """An image that is not here, one of another size, one in another frame of reference."""
    foreign = ct_alone("1.2.8", "P")[:1]
    absent = annotation(tmp_path, "1.2.99", (2, 4), (5, 6))
    resized = annotation(tmp_path, UID, (2, 4), (5, 6), size=512)
    elsewhere = annotation(tmp_path, foreign[0].SOPInstanceUID, (2, 4), (5, 6))
    boxes = [box for path in (absent, resized, elsewhere) for box in read_boxes(path)]

    found = marked(tmp_path, boxes, foreign)

    assert (found.given, found.placed, found.elsewhere) == (None, 0, 3)


def test_a_file_that_says_nothing_of_the_image_is_taken_at_its_name(tmp_path):
    path = annotation(tmp_path, UID, (2, 4), (5, 6))
    path.write_text(path.read_text().replace("<size>", "<old>").replace("</size>", "</old>"))

    (box,) = read_boxes(path)

    assert box == Box(sop_instance_uid=UID, rows=(1.5, 4.5), columns=(4.5, 6.5), image_shape=None)


@pytest.mark.parametrize(
    "content",
    [
        b"not XML",
        b"<annotation><object><bndbox><xmin>1</xmin></bndbox></object></annotation>",
        b"<a><bndbox><xmin>5</xmin><ymin>1</ymin><xmax>4</xmax><ymax>2</ymax></bndbox></a>",
        b"<a><bndbox><xmin>nan</xmin><ymin>1</ymin><xmax>4</xmax><ymax>2</ymax></bndbox></a>",
        b"<a><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>1e9</xmax><ymax>2</ymax></bndbox></a>",
        b'<!DOCTYPE a [<!ENTITY b "bb">]><a>&b;</a>',
        '<!DOCTYPE a [<!ENTITY b "bb">]><a>&b;</a>'.encode("utf-16"),
        b"<a>" + b" " * FILE_BYTES_MOST + b"</a>",
    ],
    ids=["text", "no corner", "inside out", "nan", "far", "entity", "hidden entity", "huge"],
)
def test_what_is_no_annotation_is_refused(tmp_path, content):
    path = tmp_path / f"{UID}.xml"
    path.write_bytes(content)

    with pytest.raises(NotUnderstood):
        read_boxes(path)


def test_a_name_that_is_no_uid_is_refused(tmp_path):
    with pytest.raises(NotUnderstood, match="is no SOP Instance UID"):
        read_boxes(annotation(tmp_path, "tumour", (2, 4), (5, 6)))


def test_a_marked_tumour_is_measured_by_the_pets_threshold_not_by_the_box():
    """A box of twice the tumour's width around it: the lesion is what it is without the box."""
    phantom = random_phantom(3)
    petct = draw(phantom, SCANNERS["small"])
    inside = np.argwhere(tumour_region(phantom, petct.ct.grid).mask)
    low, high = inside.min(axis=0), inside.max(axis=0)
    mask = np.zeros(petct.ct.grid.shape, bool)
    margin = (high - low) // 2
    start, stop = low - margin, high + margin + 1
    mask[low[0] : high[0] + 1, start[1] : stop[1], start[2] : stop[2]] = True
    alone = locate(petct, LesionRules())[0]
    given = GivenRegion(
        region=Region(mask=mask, grid=petct.ct.grid),
        source=RegionSource.BOX,
        name="primary",
        series_instance_uid="",
        sop_instance_uid="",
        marks_only=True,
    )
    boxed = replace(petct, given=(given,))

    lesion = locate(boxed, LesionRules())[0]

    assert lesion.mtv_ml == pytest.approx(alone.mtv_ml)
    assert lesion.volume_ml < petct.ct.grid.voxel_volume_ml * mask.sum() / 2
    assert "marked by boxes" in lesion.explanation
