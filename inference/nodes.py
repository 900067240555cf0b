"""Tells which avid foci of a chest lie where lymph nodes do."""

from collections.abc import Sequence

from inference.findings import Lesion
from inference.foci import nodal_zone
from inference.measure import share_within
from inference.thorax import Thorax


def nodal_foci(lesions: Sequence[Lesion], thorax: Thorax) -> tuple[Lesion, ...]:
    """Return the foci beside the primary that reach into the hila or the mediastinum, in order.

    Uptake and place decide, not what the focus is: a nodule of the lung that near to the midline is
    among them, since neither PET nor a CT without contrast parts it from a hilar node. Nodes that
    are enlarged but not avid are no foci and are not looked for.
    """
    further = lesions[1:]
    if not further:
        return ()
    zone = nodal_zone(thorax)
    return tuple(lesion for lesion in further if share_within(lesion.on_pet, zone) > 0)
