"""Keeps inputs as text: what was found, and what reaches code that no seed does.

No file of DICOM lies in the repository; ``corpus/TARGET/NAME.txt`` holds a line that says why the
input is kept, and the input in base 64.
"""

from base64 import b64decode, b64encode
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from textwrap import wrap

FOLDER = Path(__file__).with_name("corpus")


@dataclass(frozen=True, kw_only=True)
class Kept:
    """One input, for the target of this name."""

    target: str
    name: str
    why: str
    content: bytes


def kept() -> Iterator[Kept]:
    """Yield every input that is kept."""
    for path in sorted(FOLDER.glob("*/*.txt")):
        why, _, text = path.read_text(encoding="ascii").partition("\n")
        yield Kept(
            target=path.parent.name,
            name=path.stem,
            why=why.removeprefix("# "),
            content=b64decode(text),
        )


def keep(one: Kept) -> Path:
    """Write an input down."""
    path = FOLDER / one.target / f"{one.name}.txt"
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [f"# {one.why}", *wrap(b64encode(one.content).decode("ascii"), 100)]
    path.write_text("\n".join(lines) + "\n", encoding="ascii")
    return path
