"""Tables with a header as clinics save them: each line's number and its cells as text."""

import csv
import io
import re
import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import Path

from inference.errors import TableUnusable

_DELIMITERS = ",;\t"
_DECIMAL_COMMA = re.compile(r"-?\d+,\d+")


def rows(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield each filled line's number and its cells by column, spaces around them cut off.

    Commas, semicolons or tabulators part the cells; beside the latter two, a decimal comma becomes
    a point. Refused with ``TableUnusable`` and the line are: another encoding than UTF-8 (a mark at
    the start is fine), a workbook, a column that is there twice, a cell in one without a name, and
    a line with more or fewer cells than the header.
    """
    text = _text(path)
    delimiter = max(_DELIMITERS, key=text.partition("\n")[0].count)
    reader = csv.reader(io.StringIO(text), delimiter=delimiter, strict=True)
    header: list[str] = []
    line = 1
    try:
        for cells in reader:
            start, line = line, reader.line_num + 1
            filled = [_cell(cell, delimiter) for cell in cells]
            if not any(filled):
                continue
            if header:
                yield start, _row(path, start, header, filled)
            else:
                header = _header(path, start, filled)
    except csv.Error as error:
        raise TableUnusable(f"{path.name}:{line}: {error}") from error
    if not header:
        raise TableUnusable(f"{path.name}: the table is empty")


def _text(path: Path) -> str:
    held = path.read_bytes()
    if held.startswith(b"PK\x03\x04"):
        raise TableUnusable(f"{path.name} is a workbook: save its sheet as CSV (UTF-8)")
    try:
        return held.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = held.count(b"\n", 0, error.start) + 1
        raise TableUnusable(f"{path.name}:{line}: not UTF-8: save it as CSV (UTF-8)") from error


def _cell(cell: str, delimiter: str) -> str:
    text = cell.strip()
    if delimiter != "," and _DECIMAL_COMMA.fullmatch(text):
        return text.replace(",", ".")
    return text


def _header(path: Path, line: int, cells: Sequence[str]) -> list[str]:
    names = [plain(cell) for cell in cells]
    for name in names:
        if name and names.count(name) > 1:
            raise TableUnusable(f"{path.name}:{line}: the column {name!r} is there twice")
    return list(cells)


def _row(path: Path, line: int, header: Sequence[str], cells: Sequence[str]) -> dict[str, str]:
    if len(cells) != len(header):
        raise TableUnusable(
            f"{path.name}:{line}: {len(cells)} cells, where the header has {len(header)}"
        )
    pairs = list(zip(header, cells, strict=True))
    if any(text and not name for name, text in pairs):
        raise TableUnusable(f"{path.name}:{line}: a cell in a column without a name")
    return {name: text for name, text in pairs if name}


def plain(name: str) -> str:
    """Fold what people cannot see apart: full-width letters, case, spaces around."""
    return unicodedata.normalize("NFKC", name).strip().casefold()
