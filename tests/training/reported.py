"""Reads the page of a report for tests, and names the answers that they make."""

from tinyhtml5.parser import HTMLParser

from inference import bundle as bundles
from tests.training.made_answers import MODELS
from training.partition import Part
from training.reporting.answers import read_run
from training.reporting.judged import Asked
from training.reporting.page import html
from training.reporting.sections import page
from training.statistics.bootstrap import Resampling

BUNDLE = bundles.default_path()
SMALL = {Part.TRAINING: 60, Part.VALIDATION: 60, Part.TEST: 60}
FEW = {name: MODELS[name] for name in ("fusion", "pet")}
ASKED = Asked(resampling=Resampling(replicates=100))
RICH = (
    "time",
    "event",
    "treatment",
    "reader:senior/a",
    "reader:junior/b",
    "pet:entropy",
    "pet:skewness",
    "ct:contrast",
)


class Parsed:
    """A page as a browser's parser reads it."""

    def __init__(self, text):
        parser = HTMLParser(namespace_html_elements=False)
        self.root = parser.parse(text)
        self.errors = parser.errors
        self.text = " ".join("".join(self.root.itertext()).replace("\u00a0", " ").split())

    def all(self, *names):
        return [one for one in self.root.iter() if one.tag in names]

    def section(self, anchor):
        (found,) = (one for one in self.all("section") if one.get("id") == anchor)
        return found

    def tables(self, anchor):
        """The rows of each table below an anchor, by their headings."""
        return [
            {cells[0]: dict(zip(rows[0], cells, strict=True)) for cells in rows[1:]}
            for rows in (
                [[plain(cell) for cell in row.iter() if cell.tag in {"th", "td"}] for row in rows]
                for rows in (
                    [one for one in table.iter() if one.tag == "tr"]
                    for table in self.section(anchor).iter("table")
                )
            )
        ]


def plain(element):
    return " ".join("".join(element.itertext()).replace("\u00a0", " ").split())


def parsed(folder, cohort=None):
    return Parsed(html(page(read_run(BUNDLE, folder, cohort, None), ASKED)))


def plain_words(text):
    return text.replace("\u00a0", " ")
