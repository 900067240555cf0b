"""Planting of single faults: one change in one of our objects, which then must not go out."""

import io
from collections.abc import Callable
from dataclasses import dataclass, replace

from pydicom import dcmread
from pydicom.config import disable_value_validation
from pydicom.dataset import Dataset

from node.dicom.lint import Rule
from node.instance import ResultObject

Plant = Callable[[Dataset], bytes | None]
"""Changes a data set, or returns the bytes to be sent in its place."""
CT = "1.2.840.10008.5.1.4.1.1.2"
PET = "1.2.840.10008.5.1.4.1.1.128"


@dataclass(frozen=True, kw_only=True)
class Fault:
    """A change that makes one kind of object wrong, and the rule of the lint that it breaks."""

    target: str
    """The kind of object that it is planted in, after the name of its set (or the first set)."""
    what: str
    rule: Rule
    plant: Plant

    @property
    def name(self) -> str:
        return f"{self.target} {self.plant.__name__}"


def adding_to(faults: list[Fault]) -> Callable[..., Callable[[Plant], Plant]]:
    """Gives a decorator that adds a change to the faults, once for each of its targets."""

    def fault(*targets: str, what: str, rule: Rule) -> Callable[[Plant], Plant]:
        def add(plant: Plant) -> Plant:
            faults.extend(Fault(target=x, what=what, rule=rule, plant=plant) for x in targets)
            return plant

        return add

    return fault


def planted(made: ResultObject, fault: Fault) -> ResultObject:
    """The object with the fault in it, told of as it now is."""
    with disable_value_validation():
        dataset = dcmread(io.BytesIO(made.part10))
        damaged = fault.plant(dataset)
        return replace(
            made,
            sop_class_uid=str(dataset.SOPClassUID),
            sop_instance_uid=str(dataset.SOPInstanceUID),
            series_instance_uid=str(dataset.SeriesInstanceUID),
            study_instance_uid=str(dataset.StudyInstanceUID),
            transfer_syntax_uid=str(dataset.file_meta.TransferSyntaxUID),
            part10=damaged or written(dataset),
        )


def written(dataset: Dataset) -> bytes:
    """The bytes of a data set as a file."""
    buffer = io.BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()
