"""Headers of a PET of 70 kg, and what comes of them."""

from datetime import datetime

import pytest

from node.dicom.pet import suv_rule
from node.dicom.philips import CountFactors
from node.errors import UnusableStudy
from tests.node.dicom.minimal import change, pet_plane, radiopharmaceutical

NONE = CountFactors(suvbw=None, activity=None)
HALF_LIFE_S = 6586.2
TEN = datetime(2026, 1, 2, 10)  # noqa: DTZ001  (DICOM's local time)


def header(**changes):
    """A plane's header; None removes an attribute, ``injection_...`` changes the injection."""
    ds = pet_plane()
    change(ds, changes)
    return ds


def injected(**changes):
    return [radiopharmaceutical(**changes)]


def factor(*headers, factors=NONE):
    return suv_rule(headers, factors).factor


def refusal(*headers, factors=NONE):
    with pytest.raises(UnusableStudy) as raised:
        suv_rule(headers, factors)
    return raised.value.reason.code


def warnings(*headers):
    return {reason.code for reason in suv_rule(headers, NONE).warnings}


def decayed(seconds):
    return 2 ** (seconds / HALF_LIFE_S)
