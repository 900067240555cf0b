"""A worker's shift: one study after the other until it is over."""

import logging
import math
import sys
from collections.abc import Callable

from sqlalchemy.exc import SQLAlchemyError

from inference.errors import DeviceLost
from node.crew import Duty
from node.setback import describe
from node.worker import Worker

logger = logging.getLogger(__name__)

IDLE_S = 0.2
"""How long a worker without a job waits before it looks again."""
DATABASE_PAUSE_S = 5


def work(
    worker: Worker,
    duty: Duty,
    *,
    is_over: Callable[[], bool],
    is_ready: Callable[[], bool],
    studies_max: int | None,
) -> None:
    """Take up study after study until it is over or there were so many; tell the duty of each.

    Before each it is asked whether one may be taken up, and ends where none may.

    ``SystemExit`` where a device is lost, which only a new process can use again.
    """
    logger.info("worker %s ready", worker.name)
    left = studies_max or math.inf
    while left > 0 and not is_over() and is_ready():
        duty.begin()
        try:
            worked = worker.work() is not None
            pause = 0.0 if worked else IDLE_S
            left -= worked
            if worked:
                duty.tell()
        except SQLAlchemyError as error:
            # The job comes back when its lease ends; the database may be back before.
            logger.error("the database fails: %s", describe(error))  # noqa: TRY400  a traceback may quote values
            pause = DATABASE_PAUSE_S
        except DeviceLost as lost:
            logger.error("worker %s ends, for another to begin anew: %s", worker.name, lost)  # noqa: TRY400  the words are ours
            sys.exit(1)
        duty.end()
        duty.rest(pause)
