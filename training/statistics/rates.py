"""The five rates of calls, with the interval that fits the cases."""

from training.statistics import weighted
from training.statistics.bootstrap import Sample, bootstrap
from training.statistics.operating_point import count
from training.statistics.values import Interval, Labels


def rates_of(sample: Sample, called: Labels) -> dict[str, Interval]:
    """Return sensitivity, specificity, PPV, NPV and accuracy.

    Intervals are exact; where a patient has several cases, which then are not independent, they are
    by bootstrap.
    """
    if sample.clusters is None:
        return count(sample.labels, called).rates()
    found = bootstrap(weighted.rates(sample.labels, called), sample)
    return dict(zip(weighted.RATES, found, strict=True))
