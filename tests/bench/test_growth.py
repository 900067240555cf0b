"""Growth is the slope of a line through the logarithms of sizes and costs."""

import xml.etree.ElementTree as ET

import pytest

from tests.bench.growth import fit
from tests.bench.plot import growth_plot


@pytest.mark.parametrize(("power", "factor"), [(0, 3.0), (1, 0.5), (2, 7.0)])
def test_the_exponent_is_the_power_by_which_costs_grow(power, factor):
    sizes = (75, 150, 300, 600)

    found = fit("slices", sizes, [[factor * size**power for size in sizes]])

    assert found.exponent == pytest.approx(power, abs=1e-9)
    assert found.r_squared == pytest.approx(1)


def test_what_is_paid_once_makes_the_exponent_smaller():
    """10 s at the start and 1 s each: 11, 12, 14, 18 s."""
    found = fit("studies", (1, 2, 4, 8), [[11, 12, 14, 18]])

    assert 0.2 < found.exponent < 0.3


def test_costs_that_follow_no_power_are_told_by_r_squared():
    """Logarithms 0, 1, 0 over 0, 1, 2: the line is flat and explains nothing."""
    found = fit("associations", (1, 2, 4), [[1, 2, 1]])

    assert found.exponent == pytest.approx(0, abs=1e-9)
    assert found.r_squared == pytest.approx(0, abs=1e-9)


def test_every_round_has_an_exponent_of_its_own():
    """Twice, four times and half as much for twice the size."""
    found = fit("studies", (1, 2), [[1, 2], [1, 4], [2, 1]])

    assert found.exponents == pytest.approx([1, 2, -1])
    assert found.exponent == pytest.approx(1)
    assert "exponent 1.00 (1 is linear), rounds from -1.00 to 2.00" in found.sentence


def test_the_plot_holds_every_case_with_its_exponent():
    growths = [fit("slices", (1, 2, 4), [[1, 2, 4]]), fit("studies", (1, 2), [[1, 4], [1, 4]])]

    drawn = ET.fromstring(growth_plot(growths))

    told = " ".join(drawn.itertext())
    for one in ("slices", "exponent 1.00", "studies", "exponent 2.00"):
        assert one in told
    assert growth_plot(growths) == growth_plot(growths)
