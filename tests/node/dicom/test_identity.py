"""One study holds one patient: what of another one is refused or left."""

import pytest

from node.dicom.series import choose
from node.errors import UnusableStudy
from tests.node.dicom.minimal import ct_plane, pet_plane, save, series

RTSTRUCT = "1.2.840.10008.5.1.4.1.1.481.3"


def chosen(folder, pet, ct, document=None):
    """The study of a PET, a CT and a structure set, each with its own patient."""
    datasets = [*series(pet_plane, "1.2.3.2", **pet), *series(ct_plane, "1.2.3.3", **ct)]
    if document is not None:
        planes = series(ct_plane, "1.2.3.8", planes=1, SOPClassUID=RTSTRUCT, **document)
        planes[0].Modality = "RTSTRUCT"
        datasets += planes
    return choose(save(folder, datasets))


def codes(choice):
    return [reason.code for reason in choice.warnings]


@pytest.mark.parametrize(
    ("pet", "ct"),
    [
        ({"PatientID": "P-1"}, {"PatientID": "P-2"}),
        (
            {"PatientID": "1", "IssuerOfPatientID": "NORTH"},
            {"PatientID": "1", "IssuerOfPatientID": "SOUTH"},
        ),
    ],
)
def test_a_pet_and_a_ct_of_different_patients_are_refused(tmp_path, pet, ct):
    with pytest.raises(UnusableStudy) as raised:
        chosen(tmp_path, pet, ct)

    assert raised.value.reason.code == "PATIENT_DIFFERS"
    assert raised.value.reason.meaning == "PET and CT name different patients"


@pytest.mark.parametrize(
    ("pet", "ct"),
    [
        ({"PatientID": "P-1"}, {"PatientID": " P-1 "}),
        ({"PatientID": ""}, {}),
        ({"PatientID": "1", "IssuerOfPatientID": "NORTH"}, {"PatientID": "1"}),
    ],
)
def test_spaces_an_unnamed_patient_and_an_unnamed_issuer_are_no_difference(tmp_path, pet, ct):
    assert codes(chosen(tmp_path, pet, ct)) == []


def test_a_patient_id_on_one_side_alone_is_told(tmp_path):
    assert codes(chosen(tmp_path, {"PatientID": "P-1"}, {})) == ["PATIENT_UNSURE"]


def test_a_structure_set_of_another_patient_is_left_and_told_without_naming_him(tmp_path):
    same = {"PatientID": "P-1"}
    choice = chosen(tmp_path, same, same, {"PatientID": "P-2"})

    assert choice.documents == ()
    assert [reason.code for reason in choice.warnings] == ["CONTOUR_PATIENT"]
    assert "P-2" not in choice.warnings[0].meaning
    assert "left: it is of another patient" in choice.explanation[2]


def test_a_structure_set_of_the_same_patient_is_kept(tmp_path):
    same = {"PatientID": "P-1"}
    choice = chosen(tmp_path, same, same, same)

    assert len(choice.documents) == 1
    assert codes(choice) == []
