"""A study whose work broke off: it is tried again, and why is told without what a file said."""

import logging
import traceback
from datetime import datetime, timedelta
from pathlib import Path

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from db import jobs
from db.engine import writing
from inference.errors import InferenceError
from inference.findings import Reason
from node.errors import NodeError

logger = logging.getLogger(__name__)

RETRY_DELAY = timedelta(seconds=10)


def take_back(
    database: Engine, worker: str, reason: Reason, *, attempts: int, now: datetime
) -> None:
    """Take its job from a worker that is gone; the study is tried again, or fails with the reason.

    Where the database fails, the job comes back when its lease ends.
    """
    try:
        with writing(database) as connection:
            job = jobs.take_back(
                connection,
                worker,
                reason={"code": reason.code, "meaning": reason.meaning},
                attempts=attempts,
                due_at=now + RETRY_DELAY,
                now=now,
            )
    except SQLAlchemyError as error:
        logger.error("the job of worker %s is not taken back: %s", worker, describe(error))  # noqa: TRY400  a traceback may quote values
        return
    if job is not None:
        extra = {"study": job.study_instance_uid}
        logger.error("job %d stopped: %s", job.id, reason.meaning, extra=extra)


def describe(error: BaseException) -> str:
    """Say what went wrong without repeating what a file said.

    Our own errors hold no patient data by construction; of others only the type and the place are
    told, since a library may quote a value of the data set in its message.
    """
    if isinstance(error, NodeError | InferenceError):
        return f"{type(error).__name__}: {error}"
    frames = traceback.extract_tb(error.__traceback__)
    ours = [f for f in frames if Path(f.filename).parent.name in {"node", "dicom", "inference"}]
    last = ours[-1] if ours else (frames[-1] if frames else None)
    place = f" in {Path(last.filename).name}:{last.lineno}" if last else ""
    return f"{type(error).__name__}{place}"
