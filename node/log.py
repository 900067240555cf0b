"""Sets logging up: one line an event on stderr, identifiers as key=value, nothing of patients.

No log call names a patient; what is withheld here is the second line of defence, for the text of
errors and of libraries.
"""

import logging
import re
import sys
import traceback
from types import TracebackType
from typing import TextIO

from typing_extensions import override

WITHHELD = "[withheld]"
# A person's name as DICOM writes it (PS3.5 6.2.1), with the words before it: VAN DEN BERG^JAN.
PERSON_NAME = re.compile(r"(?:[^\W\d_][\w'.-]* ){0,3}[\w'.-]*\^[\w^'.-]*(?:\^[\w'.-]*)*")
# An element of the patient's group as pydicom prints it, up to the end of the line.
PATIENT_GROUP = re.compile(r"\(0010,\s?[0-9A-Fa-f]{4}\)[^\n]*")
STANDARD_FIELDS = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
QUOTED = re.compile(r"'[^'\n]*'|\"[^\"\n]*\"")
ExceptionInfo = (
    tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]
)
OURS = ("node", "inference", "training", "db")


class Redaction(logging.Filter):
    """Replaces arguments that hold a data set before they are formatted."""

    @override
    def filter(self, record: logging.LogRecord) -> bool:
        if isinstance(record.args, tuple):
            record.args = tuple(_harmless(value) for value in record.args)
        elif record.args:
            record.args = {key: _harmless(value) for key, value in record.args.items()}
        if not isinstance(record.msg, str):
            record.msg = _harmless(record.msg)
        if not _is_ours(record.name):
            # Libraries quote what they stumble over: Invalid value for VR DS: '...'
            record.msg, record.args = QUOTED.sub(WITHHELD, record.getMessage()), None
        for key in _extras(record):
            setattr(record, key, _harmless(getattr(record, key)))
        return True


class KeyValueFormatter(logging.Formatter):
    """Writes time, level, logger, message and the extras of the call as key=value."""

    def __init__(self) -> None:
        super().__init__(
            "%(asctime)s %(levelname)s %(name)s %(message)s", datefmt="%Y-%m-%dT%H:%M:%S%z"
        )

    @override
    def formatMessage(self, record: logging.LogRecord) -> str:
        pairs = [f"{key}={getattr(record, key)}" for key in _extras(record)]
        return " ".join([super().formatMessage(record), *pairs])

    @override
    def formatException(self, ei: ExceptionInfo) -> str:
        """Tell where it happened; what it says only where the error is our own.

        The message of any other may quote a value of the data set.
        """
        lines = []
        error: BaseException | None = ei[1]
        while error is not None:
            lines += traceback.format_tb(error.__traceback__)
            said = str(error) if _is_ours(type(error).__module__) else WITHHELD
            lines.append(f"{type(error).__name__}: {said}\n")
            error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
        return "".join(lines).rstrip("\n")

    @override
    def format(self, record: logging.LogRecord) -> str:
        return without_patient(super().format(record))


def configure(level: str, *, stream: TextIO = sys.stderr) -> None:
    """Send everything from ``level`` up to ``stream``; libraries only from WARNING up."""
    handler = logging.StreamHandler(stream)
    handler.addFilter(Redaction())
    handler.setFormatter(KeyValueFormatter())
    least = logging.getLevelNamesMapping()[level]
    logging.basicConfig(level=max(least, logging.WARNING), handlers=[handler], force=True)
    logging.captureWarnings(capture=True)
    for name in OURS:
        logging.getLogger(name).setLevel(least)
    # Under load APScheduler warns of every tick that it leaves out; the next one does the work.
    logging.getLogger("apscheduler").setLevel(logging.ERROR)
    # That a peer cannot be reached is said once, by whoever wanted it, with what follows from it.
    logging.getLogger("pynetdicom.transport").setLevel(logging.CRITICAL)


def without_patient(text: str) -> str:
    """Return the text without what looks like a person's name or a patient's element."""
    text = PATIENT_GROUP.sub(f"(0010,....) {WITHHELD}", text)
    return PERSON_NAME.sub(WITHHELD, text) if "^" in text else text


def _is_ours(name: str) -> bool:
    return name.partition(".")[0] in OURS


def _extras(record: logging.LogRecord) -> list[str]:
    return [key for key in vars(record) if key not in STANDARD_FIELDS]


def _harmless(value: object) -> object:
    # By name, as nothing but node.dicom and node.net imports pydicom.
    is_dicom = any(cls.__module__.partition(".")[0] == "pydicom" for cls in type(value).__mro__)
    is_text = isinstance(value, str)  # a pydicom UID is one, and harmless
    return f"{WITHHELD}: {type(value).__name__}" if is_dicom and not is_text else value
