"""One made-up study, analysed before the first real one, which then finds everything loaded."""

import logging
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import datetime
from pathlib import Path
from typing import Final

from inference.phantom import draw, random_phantom
from inference.scanner import Scanner
from node.analysis import Conclusion, Recipe, StudyOnDisk, conclude
from node.dicom import acquire
from node.setback import describe

logger = logging.getLogger(__name__)

_SEED: Final = 2
"""Of a body with one tumour, of which everything is predicted and every kind of object made."""
_SCANNER: Final = Scanner(
    name="rehearsal",
    ct_shape=(48, 80, 96),
    ct_spacing=(5.0, 4.0, 4.0),
    pet_shape=(48, 48, 60),
    pet_spacing=(5.0, 5.0, 5.0),
)
"""As coarse as a chest can be to be found, and no coarser than a CT may be."""


Scratch = Callable[[], AbstractContextManager[Path]]
"""Gives a folder that is gone after its block."""


def rehearse(
    recipe: Recipe, scratch: Scratch, *, when: datetime, clock: Callable[[], float]
) -> bool:
    """Bring a drawn study to its conclusion, which nobody keeps; return whether it was analysed.

    What is loaded when it is first used (tables of codes, templates, fonts, libraries) is loaded
    then. What goes wrong is logged, and left to the studies: they have attempts and a reason.
    """
    try:
        with scratch() as folder:
            reasons = _conclusion(recipe, folder, when=when, clock=clock).reasons
    except Exception as error:  # noqa: BLE001  a worker that cannot rehearse may still work
        logger.warning("no rehearsal: %s", describe(error))
        return False
    for reason in reasons:
        logger.warning("no rehearsal: %s", reason.meaning)
    return not reasons


def _conclusion(
    recipe: Recipe, folder: Path, *, when: datetime, clock: Callable[[], float]
) -> Conclusion:
    petct = draw(random_phantom(_SEED), _SCANNER)
    paths = acquire.write(
        petct,
        folder,
        habit=acquire.Habit.SIEMENS,
        study=acquire.Study.of_phantom(_SEED, when),
    )
    study = StudyOnDisk(study_instance_uid=petct.study_instance_uid, paths=paths, key="rehearsal")
    return conclude(study, recipe, when=when, clock=clock)
