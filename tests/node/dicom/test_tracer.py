"""FDG is told from other tracers by code, name and description."""

import pytest
from pydicom.dataset import Dataset

from node.dicom.tracer import Tracer, tracer_of
from tests.node.dicom.choosing import cts, pets, refusal
from tests.node.dicom.minimal import (
    code,
    radiopharmaceutical,
)


def tracer(codes=(), name="", nuclide=("C-111A1", "SRT", "^18^Fluorine"), **descriptions):
    item = radiopharmaceutical()
    item.RadiopharmaceuticalCodeSequence = [code(*c) for c in codes]
    item.RadionuclideCodeSequence = [code(*nuclide)] if nuclide else []
    item.Radiopharmaceutical = name
    ds = Dataset()
    ds.RadiopharmaceuticalInformationSequence = [item]
    for keyword, value in descriptions.items():
        setattr(ds, keyword, value)
    return tracer_of(ds)


@pytest.mark.parametrize(
    "known",
    [
        {"codes": [("C-B1031", "SRT", "")]},
        {"codes": [("C-B1031", "SNM3", "")]},
        {"codes": [("C-B1031", "99SDM", "")]},
        {"codes": [("35321007", "SCT", "")]},
        {"codes": [("Y-X1743", "99SDM", "")]},
        {"codes": [("LOCAL", "99HOSP", "Fluorodeoxyglucose F^18^")]},
        {"name": "FDG -- fluorodeoxyglucose"},
        {"name": "F18-FDG"},
        {"name": "2-[18F]fluoro-2-deoxy-D-glucose", "nuclide": None},
    ],
    ids=lambda known: str(next(iter(known.values()))),
)
def test_7_fdg_is_known_by_code_in_any_scheme_or_by_text(known):
    assert tracer(**known) is Tracer.FDG


@pytest.mark.parametrize(
    "other",
    [
        {"name": "FLT"},
        {"name": "18F-PSMA-1007"},
        {"codes": [("126752", "DCM", "28H1 ^89^Zr")]},
        {"codes": [("C-B1036", "SRT", "")]},
        {"AttenuationCorrectionMethod": "measured,AC_CT FLT"},
        {"SeriesDescription": "PET DOTATATE WB"},
        {"StudyDescription": "PET/CT F-18 choline"},
    ],
    ids=lambda other: str(next(iter(other.values()))),
)
def test_11_another_tracer_is_known_by_code_name_or_description(other):
    assert tracer(**other) is Tracer.OTHER


@pytest.mark.parametrize("name", ["", "F18", "18F", "F-18 solution", "Other"])
def test_a_name_of_the_isotope_is_no_tracer(name):
    assert tracer(name=name) is Tracer.UNNAMED_F18


def test_fdg_of_another_radionuclide_is_not_fdg(tmp_path):
    technetium = code("C-163A8", "SRT", "^99m^Technetium")
    item = radiopharmaceutical(RadionuclideCodeSequence=[technetium])

    given = {"RadiopharmaceuticalInformationSequence": [item]}
    assert refusal(tmp_path, pets(**given), cts()) == "TRACER_NOT_FDG"


def test_without_name_and_isotope_the_half_life_tells():
    gallium = ("C-131A3", "SRT", "^68^Gallium")

    assert tracer(nuclide=None) is Tracer.UNNAMED_F18
    assert tracer(nuclide=gallium) is Tracer.UNNAMED
    assert tracer_of(Dataset()) is Tracer.UNNAMED
