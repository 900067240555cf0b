"""A table of text comes back as it was written, whatever its cells hold."""

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference.errors import TableUnusable
from inference.table import plain, rows

CELLS = st.text(
    alphabet=st.characters(codec="utf-8", exclude_characters="\0\r\x1c\x1d\x1e\x85\u2028\u2029"),
    max_size=12,
).map(str.strip)


@given(
    st.lists(st.lists(CELLS, min_size=3, max_size=3).filter(any), min_size=1, max_size=6),
    st.sampled_from([",", ";", "\t"]),
    st.booleans(),
)
def test_cells_survive_quotes_delimiters_and_line_breaks(tmp_path_factory, table, delimiter, mark):
    written = io.StringIO(newline="")
    writer = csv.writer(written, delimiter=delimiter)
    writer.writerow(["a", "b", "c"])
    writer.writerows(table)
    path = tmp_path_factory.mktemp("table") / "t.csv"
    path.write_bytes(written.getvalue().encode("utf-8-sig" if mark else "utf-8"))

    read = [list(row.values()) for _, row in rows(path)]

    assert read == [[pointed(cell, delimiter) for cell in row] for row in table]


def pointed(cell, delimiter):
    """A decimal comma is a point where a comma does not part the cells."""
    whole, _, rest = cell.partition(",")
    is_number = whole.removeprefix("-").isdecimal() and rest.isdecimal()
    return f"{whole}.{rest}" if delimiter != "," and is_number else cell


def test_lines_are_counted_as_an_editor_counts_them(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text('a,b\n\n1,"two\nlines"\n3,4\n')

    assert [line for line, _ in rows(path)] == [3, 5]


def test_a_line_that_is_too_short_is_named(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("a,b\n1,2\n3\n")

    with pytest.raises(TableUnusable, match=r"t\.csv:3: 1 cells, where the header has 2"):
        list(rows(path))


def test_full_width_letters_case_and_spaces_are_no_difference():
    assert plain(" \N{FULLWIDTH LATIN CAPITAL LETTER M}-Stage ") == plain("m-stage")
