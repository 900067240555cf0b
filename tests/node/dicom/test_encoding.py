"""Elements encoded without data sets are pydicom's, and stand where their tags belong."""

import io

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from pydicom import Dataset, dcmread
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from node.dicom import encoding

KEYWORDS = (
    "ImageType",
    "SeriesInstanceUID",
    "SourceImageSequence",
    "PatientName",
    "StudyInstanceUID",
    "DimensionOrganizationSequence",
    "CurrentRequestedProcedureEvidenceSequence",
    "PixelData",
)


def dataset_of(keywords):
    dataset = Dataset()
    for keyword in keywords:
        if keyword.endswith("Sequence"):
            item = Dataset()
            item.ReferencedSOPInstanceUID = "2.25.123"
            setattr(dataset, keyword, [item, Dataset()])
        elif keyword == "PixelData":
            dataset.add_new("PixelData", "OW", b"\0\1" * 20)
        else:
            setattr(dataset, keyword, "2.25.1")
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = "1.2.3"
    dataset.file_meta.MediaStorageSOPInstanceUID = "1.2.4"
    return dataset


def saved(dataset) -> bytes:
    buffer = io.BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


@given(st.sets(st.sampled_from(KEYWORDS)), st.sets(st.sampled_from(KEYWORDS)))
def test_elements_put_among_others_make_the_object_that_has_all_of_them(held, put):
    whole = dataset_of(held | put)
    rest = dataset_of(held - put)
    encoded = encoding.as_pydicom(dataset_of(put))

    made = b"".join(encoding.put_among(memoryview(saved(rest)), encoded))

    assert made == saved(whole)


def test_a_reference_is_what_pydicom_makes_of_it():
    item = Dataset()
    item.ReferencedSOPClassUID = "1.2.840.10008.5.1.4.1.1.2"
    item.ReferencedSOPInstanceUID = "2.25.12"
    dataset = Dataset()
    dataset.SourceImageSequence = [item, item]

    reference = encoding.joined(encoding.reference("1.2.840.10008.5.1.4.1.1.2", "2.25.12"))
    told = encoding.sequence("SourceImageSequence", [reference, reference])

    assert told == encoding.as_pydicom(dataset)


def test_what_is_put_among_others_is_read_back():
    reference = encoding.joined(encoding.reference("1.2.3", "2.25.7"))
    told = encoding.sequence("SourceImageSequence", [reference] * 3)

    made = b"".join(encoding.put_among(memoryview(saved(dataset_of(KEYWORDS[:2]))), told))

    items = dcmread(io.BytesIO(made)).SourceImageSequence
    assert [item.ReferencedSOPInstanceUID for item in items] == ["2.25.7"] * 3


def test_parts_come_one_after_the_other():
    assert encoding.in_one([b"one ", memoryview(b"after "), b"the other"]) == b"one after the other"


def test_numbers_in_a_box_stand_between_zeros_and_after_what_comes_before():
    """A volume of 2 x 3 x 4 float32 is 96 bytes; the box begins at slice 1, row 1, column 2."""
    box = np.array([[[1.5, 2.5]]], np.float32)

    whole = encoding.in_one([b"abc", encoding.Boxed(shape=(2, 3, 4), start=(1, 1, 2), box=box)])

    volume = np.zeros((2, 3, 4), "<f4")
    volume[1, 1, 2:] = 1.5, 2.5
    assert whole == b"abc" + volume.tobytes()
