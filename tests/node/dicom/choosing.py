"""Series to choose from, and what comes of choosing."""

import pytest

from node.dicom.series import choose
from node.errors import UnusableStudy
from tests.node.dicom.minimal import (
    ct_plane,
    pet_plane,
    save,
    series,
)


def chosen(folder, *datasets):
    return choose(save(folder, [ds for group in datasets for ds in group]))


def refusal(folder, *datasets):
    with pytest.raises(UnusableStudy) as raised:
        chosen(folder, *datasets)
    return raised.value.reason.code


def pets(uid="1.2.3.2", planes=5, **values):
    return series(pet_plane, uid, planes, **values)


def cts(uid="1.2.3.3", planes=5, **values):
    return series(ct_plane, uid, planes, **values)


def spaced(datasets, step, shift=0.0):
    for index, ds in enumerate(datasets):
        ds.ImagePositionPatient = [-14.0, -14.0, shift + step * index]
    return datasets
