from dataclasses import replace

import pytest

from inference.lesion import LesionRules, locate
from inference.nodes import nodal_foci
from inference.phantom import SCANNERS, Node, draw, random_phantom, with_nodes
from inference.thorax import find_thorax


def foci_of(phantom):
    """Return all lesions of a phantom, and those among them that lie where nodes do."""
    petct = draw(phantom, SCANNERS["small"])
    thorax = find_thorax(petct.ct)
    lesions = locate(petct, LesionRules(), thorax)
    return lesions, nodal_foci(lesions, thorax)


@pytest.mark.parametrize("stations", [{"n1": 1}, {"n2": 1}], ids=["hilar", "mediastinal"])
def test_an_avid_node_is_found_where_nodes_lie(stations):
    phantom = with_nodes(random_phantom(7000001), **stations)
    (node,) = phantom.nodes

    _, (found,) = foci_of(phantom)

    assert found.centroid_lps_mm == pytest.approx(node.centre_lps_mm, abs=4)
    assert found.label == "focus-1"


def test_without_nodes_there_is_none_though_the_heart_takes_up_more():
    lesions, found = foci_of(random_phantom(7000001))

    assert len(lesions) == 1
    assert found == ()


def test_a_second_nodule_far_out_in_the_lung_is_no_node():
    """As far out as the tumour, on the other side: 89 mm from the midline."""
    phantom = random_phantom(7000022)
    x, y, z = phantom.tumour.centre_lps_mm
    other = Node(station="", centre_lps_mm=(-x, y, z), diameter_mm=15.0, suv=8.0)

    lesions, found = foci_of(replace(phantom, nodes=(other,)))

    assert abs(x) > 80
    assert len(lesions) == 2
    assert found == ()


def test_where_there_is_no_lesion_there_is_no_node():
    thorax = find_thorax(draw(random_phantom(7000001), SCANNERS["small"]).ct)

    assert nodal_foci((), thorax) == ()
