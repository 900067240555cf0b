"""P values when many are looked at."""

from collections.abc import Mapping

import numpy as np
from scipy.stats import false_discovery_control

from training.statistics.values import Floats


def benjamini_hochberg(p: Mapping[str, float]) -> dict[str, float]:
    """Return each p adjusted for the false discovery rate (JRSS B 1995;57:289-300).

    Those at or below q are discoveries of which a share of q is false on average, as long as the
    tests are independent or lean the same way. A p that is NaN stays so and is not counted.
    """
    known = {name: value for name, value in p.items() if not np.isnan(value)}
    adjusted: Floats = false_discovery_control(np.array(list(known.values())), method="bh")
    found = dict(zip(known, adjusted.tolist(), strict=True))
    return {name: found.get(name, float("nan")) for name in p}
