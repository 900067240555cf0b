"""What the node's own code measures of a patient's primary tumour, as covariates."""

import math
from collections.abc import Mapping

import numpy as np

from inference.findings import Lesion
from inference.geometry import Points
from inference.petct import PetCt
from inference.thorax import Thorax
from inference.volume import Region
from training.cohort import CENTRAL_MM

MEASURED = (
    "left",
    "central",
    "log_diameter",
    "log_suv_max",
    "log_mtv_ml",
    "log_tlg_g",
    "solid_share",
)
SOLID_HU = -160.0
"""Tumour at or above this counts as solid, below as ground glass."""
TUMOUR_HU = -750.0
"""What is thinner is taken for air and lung that the PET's threshold took in."""
HILUM_HEIGHT = (0.45, 0.65)
"""Where the hilum lies between the base (0) and the apex (1) of a lung."""
HILUM_SHARE = 0.05
"""Of the lung at that height, the part nearest to the midline is taken for its hilum."""


def measures(petct: PetCt, lesion: Lesion, thorax: Thorax) -> Mapping[str, float]:
    """Return ``MEASURED`` of a primary tumour; NaN where the images do not tell."""
    known = dict(zip(("right", "left"), (0.0, 1.0), strict=True))
    return {
        "left": known.get(lesion.laterality or "", math.nan),
        "central": central(lesion, thorax),
        "log_diameter": _log(lesion.longest_diameter_mm),
        "log_suv_max": _log(lesion.suv_max),
        "log_mtv_ml": _log(lesion.mtv_ml),
        "log_tlg_g": _log(lesion.tlg_g),
        "solid_share": solid_share(petct, lesion),
    }


def central(lesion: Lesion, thorax: Thorax) -> float:
    """Tell whether a tumour's centroid lies nearer than ``CENTRAL_MM`` to the hilum of either lung.

    A lung's hilum is taken to be the mean of the twentieth of its voxels that lies nearest to the
    midline, from 45 to 65 % of its height. NaN where the CT shows no lung.
    """
    centre = np.asarray(lesion.centroid_lps_mm)
    hila = [_hilum(lung, thorax) for lung in (thorax.left_lung, thorax.right_lung)]
    seen = [float(np.linalg.norm(hilum - centre)) for hilum in hila if hilum is not None]
    return float(min(seen) < CENTRAL_MM) if seen else math.nan


def solid_share(petct: PetCt, lesion: Lesion) -> float:
    """Return the share of a tumour's volume on the CT that is solid; NaN where there is only air.

    Voxels of the region at or above -160 HU, of those at or above -750 HU.
    """
    hu = petct.ct.voxels[lesion.on_ct.mask]
    tumour = hu[hu >= TUMOUR_HU]
    return float(np.mean(tumour >= SOLID_HU)) if len(tumour) else math.nan


def _hilum(lung: Region, thorax: Thorax) -> Points | None:
    if lung.voxel_count == 0 or thorax.midline_x_mm is None:
        return None
    points = lung.grid.to_patient(np.argwhere(lung.mask))
    low, high = points[:, 2].min(), points[:, 2].max()
    height = (points[:, 2] - low) / max(high - low, 1.0)
    middle = points[(height >= HILUM_HEIGHT[0]) & (height <= HILUM_HEIGHT[1])]
    if not len(middle):
        return None
    aside = np.abs(middle[:, 0] - thorax.midline_x_mm)
    nearest: Points = middle[aside <= np.quantile(aside, HILUM_SHARE)].mean(axis=0)
    return nearest


def _log(value: float) -> float:
    return math.log(value) if value > 0 else math.nan
