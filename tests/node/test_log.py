import io
import logging
import warnings

import pytest
from pydicom.dataset import Dataset
from pydicom.uid import UID

from node import log
from node.errors import NotUnderstood


@pytest.fixture
def written():
    """Everything that is logged from here on, as text."""
    root = logging.getLogger()
    before = (root.handlers[:], root.level)
    stream = io.StringIO()
    log.configure("DEBUG", stream=stream)
    yield stream.getvalue
    logging.captureWarnings(capture=False)
    root.handlers[:], root.level = before


@pytest.fixture
def patient():
    dataset = Dataset()
    dataset.PatientName = "MUSTER^ERIKA^^^"
    dataset.PatientID = "4711"
    dataset.StudyInstanceUID = "1.2.3"
    return dataset


logger = logging.getLogger("node.test")


def test_the_event_comes_first_and_the_identifiers_follow(written):
    logger.info("job %d done in %.1f s", 7, 1.25, extra={"study": "1.2.3", "attempt": 1})

    assert written().endswith("INFO node.test job 7 done in 1.2 s study=1.2.3 attempt=1\n")


@pytest.mark.parametrize("name", ["MUSTER^ERIKA", "Van den Berg^Jan^^Dr", "MÜLLER^ÄNNE", "O'HARA^"])
def test_a_name_never_reaches_the_log(written, name):
    logger.warning("cannot read %s", name)
    logger.error("failed", extra={"who": name})
    logger.error("failed", exc_info=ValueError(f"bad value {name}"))

    assert not any(part in written() for part in name.replace("^", " ").split() if len(part) > 2)
    assert written().count(log.WITHHELD) >= 3


def test_a_data_set_never_reaches_the_log(written, patient):
    logger.info("received %s", patient)
    logger.info("received %(dataset)s", {"dataset": patient})
    logger.info(patient)
    logger.info("received", extra={"dataset": patient})
    logger.info("element %s", patient["PatientID"])

    assert "4711" not in written()
    assert "ERIKA" not in written()
    assert written().count("withheld") == 5


def test_a_data_set_that_was_formatted_before_loses_its_patient(written, patient):
    logger.info("received\n" + str(patient))  # noqa: G003  the mistake that is to be caught

    assert "4711" not in written()
    assert "ERIKA" not in written()
    assert "1.2.3" in written()


def test_a_uid_is_no_patient(written):
    logger.info("received %s", UID("1.2.840.10008.1.2"))

    assert "1.2.840.10008.1.2" in written()


def test_what_a_library_quotes_never_reaches_the_log(written):
    logging.getLogger("pydicom").warning("Invalid value for VR %s: '%s'", "DS", "77 years")
    logging.getLogger("py.warnings").warning('x.py:1: UserWarning: "4711" is no age')

    assert "Invalid value for VR DS: [withheld]" in written()
    assert "77" not in written()
    assert "4711" not in written()


def test_of_an_error_that_is_not_ours_only_its_type_and_place_are_told(written):
    value = "born " + "1943" + "0207"
    try:
        try:
            int(value)
        except ValueError as error:
            raise NotUnderstood("cannot read the bytes as DICOM: ValueError") from error
    except NotUnderstood:
        logger.exception("could not take an instance")

    assert "19430207" not in written()
    assert "ValueError: [withheld]" in written()
    assert "NotUnderstood: cannot read the bytes as DICOM: ValueError" in written()
    assert "test_log.py" in written()


def test_libraries_say_only_what_matters(written):
    logging.getLogger("pynetdicom.acse").info("Accepting Association")
    logging.getLogger("pynetdicom.acse").warning("odd")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(capture=True)
        warnings.warn("Invalid value for VR PN: 'MUSTER^ERIKA'", stacklevel=1)

    assert "Accepting" not in written()
    assert "odd" in written()
    assert "ERIKA" not in written()
