"""What is read of a header once for many files is what is read of each of them."""

from io import BytesIO

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from node.dicom import elements
from node.dicom.attributes import number, shared, text
from node.dicom.file_header import FileHeader, only
from tests.node.dicom.minimal import ct_plane


class Files:
    """Headers of planes that are drawn one after the other, as those of one study."""

    def __init__(self, folder):
        self.path, self.met, self.memo = folder / "plane.dcm", elements.Layouts(), {}

    def header(self, tags=None, **values) -> FileHeader:
        dataset = ct_plane()
        for keyword, its in values.items():
            setattr(dataset, keyword, its)
        buffer = BytesIO()
        dataset.save_as(buffer, enforce_file_format=True)
        self.path.write_bytes(buffer.getvalue())
        told = elements.find(self.path, self.met)
        assert told is not None
        limits = {} if tags is None else {"tags": tags}
        return FileHeader(elements=told, memo=self.memo, **limits)


@pytest.fixture
def files(tmp_path):
    return Files(tmp_path)


class Reading:
    """Looks at a second attribute only where the first says so, and counts its calls."""

    def __init__(self):
        self.count = 0

    def __call__(self, header):
        self.count += 1
        kernel = text(header, "ConvolutionKernel")
        return kernel, number(header, "KVP") if kernel == "B" else None


def test_it_is_read_once_of_files_that_say_the_same_where_it_was_looked(files):
    read = Reading()
    told = [shared(files.header(ConvolutionKernel="B", KVP=kvp), read) for kvp in (80, 99, 80)]

    assert told == [("B", 80), ("B", 99), ("B", 80)]
    assert read.count == 2


def test_what_was_not_looked_at_makes_no_difference(files):
    read = Reading()
    told = [shared(files.header(ConvolutionKernel="A", KVP=kvp), read) for kvp in (80, 99)]

    assert told == [("A", None), ("A", None)]
    assert read.count == 1


def test_what_is_absent_in_another_layout_is_read_anew(files):
    read = Reading()
    with_it = files.header(ConvolutionKernel="B", KVP=80)
    without = files.header(ConvolutionKernel="B")

    assert [shared(with_it, read), shared(without, read)] == [("B", 80), ("B", None)]


def test_a_header_that_tells_less_is_read_anew(files):
    read = Reading()
    values = {"ConvolutionKernel": "B", "KVP": 80}

    assert shared(files.header(**values), read) == ("B", 80)
    assert shared(files.header(only(["ConvolutionKernel"]), **values), read) == ("B", None)
    assert shared(files.header(only(["KVP"]), **values), read) == ("", None)


def test_the_same_bytes_in_another_character_set_are_read_anew(files):
    def read(header):
        return text(header, "StationName")

    told = []
    for character_set, name in (("ISO_IR 100", "\u00e4"), ("ISO_IR 144", "\u0444")):
        told.append(
            shared(files.header(SpecificCharacterSet=character_set, StationName=name), read)
        )

    assert told == ["\u00e4", "\u0444"]


def test_what_is_read_within_is_looked_at_as_well(files):
    def read(header):
        return shared(header, Reading())

    told = [shared(files.header(ConvolutionKernel="B", KVP=kvp), read) for kvp in (80, 99)]

    assert told == [("B", 80), ("B", 99)]


@pytest.mark.parametrize("full", [False, True])
def test_of_a_whole_header_every_byte_is_looked_at(files, full):
    def read(header):
        return (header.full if full else header).data_set().KVP

    assert [shared(files.header(KVP=kvp), read) for kvp in (80, 99)] == [80, 99]


def test_a_header_is_whole_that_is_longer_than_those_before(files):
    """Of a file no more is read at first than those before took."""
    files.header()

    assert text(files.header(PatientComments="x" * 9000), "PatientComments") == "x" * 9000


def test_what_is_refused_is_refused_of_every_file(files):
    def read(header):
        raise ValueError(text(header, "Modality"))

    for _ in range(2):
        with pytest.raises(ValueError, match="CT"):
            shared(files.header(), read)


VALUES = {
    "ConvolutionKernel": st.sampled_from(["A", "B", ""]),
    "KVP": st.sampled_from([80, 99, 120]),
    "PatientID": st.sampled_from(["1", "22"]),
}


@given(drawn=st.lists(st.fixed_dictionaries({}, optional=VALUES), min_size=2, max_size=8))
@settings(max_examples=60)
def test_whatever_files_come_before_the_same_is_read_as_of_the_file_alone(tmp_path_factory, drawn):
    files, read = Files(tmp_path_factory.getbasetemp()), Reading()
    for values in drawn:
        header = files.header(**values)

        assert shared(header, read) == read(header)
