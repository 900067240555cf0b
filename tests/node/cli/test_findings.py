"""What a study says of itself is shown as it is, never taken for an order to the console."""

import io

from rich.console import Console

from inference.findings import in_percent
from node.cli.findings import print_document


def _shown(document):
    text = io.StringIO()
    print_document(document, Console(file=text, width=200))
    return text.getvalue()


def test_markup_in_the_name_of_a_contour_is_shown_as_it_is():
    document = {
        "study_instance_uid": "1.2.3",
        "outcome": "refused",
        "reasons": [{"code": "PET_MISSING", "meaning": "GTV [/red] and [right lung]"}],
    }

    assert "GTV [/red] and [right lung]" in _shown(document)


def test_a_probability_is_told_from_its_cut_off_whatever_the_decimals_it_takes():
    assert in_percent(0.62, 0.258) == ("62.0", "25.8")
    assert in_percent(0.2731, 0.2729) == ("27.31", "27.29")
    assert in_percent(0.25, 0.25) == ("25.000000", "25.000000")
