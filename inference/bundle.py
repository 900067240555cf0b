"""The folder a model lies in: a card, and networks and statistics whose digests it holds."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePath

from inference.card import Card, Task
from inference.codec import Malformed, canonical, decode, digest, encode, loads
from inference.errors import BundleUnusable
from inference.familiar import Familiar, read
from inference.findings import BundleIdentity

CARD = "card.json"
CALIBRATION = (
    "Probabilities are the networks' margins after {methods}, fitted on the bundle's own "
    "validation data; they hold for cases like those it was trained on"
)
BY_UPTAKE = (
    ". They are of patients who are clinically N0, which is judged by uptake alone: nodes that are "
    "enlarged on the CT (short axis of 10 mm or more) without uptake are not looked for"
)


@dataclass(frozen=True, kw_only=True)
class Bundle:
    """A card and the folder of the files that it names, all verified when it was loaded."""

    folder: Path
    card: Card
    digest: str
    familiar: Mapping[str, Familiar] = field(default_factory=dict)
    """The statistics of each task that has a ``familiarity``, by the task's name."""

    @property
    def identity(self) -> BundleIdentity:
        """Name, version and digest, as they go into every result."""
        return BundleIdentity(
            name=self.card.name,
            version=self.card.version,
            digest=self.digest,
            training_data=self.card.training_data,
            calibration=CALIBRATION.format(methods=" or ".join(self._methods)) + self._nodal,
        )

    @property
    def _methods(self) -> list[str]:
        """How margins became probabilities, in words, each way once."""
        return list(dict.fromkeys(task.calibration.words for task in self.tasks))

    @property
    def _nodal(self) -> str:
        """By what the node tells that a patient is clinically N0, if the card asks for it."""
        return "" if self.card.limits.node_suv_max is None else BY_UPTAKE

    @property
    def tasks(self) -> tuple[Task, ...]:
        """The questions that the bundle answers."""
        return self.card.tasks

    def onnx_path(self, task: Task) -> Path:
        """Return where the task's network lies."""
        return self.folder / task.onnx


def default_path() -> Path:
    """Return the folder of the bundle that ships with the software."""
    return Path(__file__).parent / "bundles" / "dlnms-phantom"


def load(path: Path | None) -> Bundle:
    """Read a bundle, or the one that ships, and verify every file of it against its card.

    ``BundleUnusable`` names the file and the reason: the card is missing or malformed, a digest
    differs, a listed file is missing or not what it should be, or a file is there that the card
    does not list.
    """
    path = default_path() if path is None else path
    card_path = path / CARD
    try:
        card = decode(Card, loads(card_path.read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError, Malformed) as error:
        raise BundleUnusable(f"{card_path}: {error}") from error
    _check_names(card_path, card.files)
    _check_listed(path, card.files)
    for name, expected in card.files.items():
        _check_digest(path / name, expected)
    familiar = {
        task.name: read(path / task.familiarity.file) for task in card.tasks if task.familiarity
    }
    return Bundle(folder=path, card=card, digest=digest(canonical(encode(card))), familiar=familiar)


def save(folder: Path, card: Card, contents: Mapping[str, bytes]) -> Bundle:
    """Write the files and the card, with their digests filled in, to a folder that is new.

    Returns the bundle as ``load`` reads it. ``card.files`` is replaced by what is written.
    """
    folder.mkdir(parents=True)
    for name, data in contents.items():
        (folder / name).write_bytes(data)
    files = {name: digest(data) for name, data in sorted(contents.items())}
    text = json.dumps(encode(replace(card, files=files)), indent=1, ensure_ascii=False)
    (folder / CARD).write_text(text + "\n", encoding="utf-8")
    return load(folder)


def _check_names(card_path: Path, files: Mapping[str, str]) -> None:
    for name in files:
        if PurePath(name).name != name or "\\" in name or name == CARD:
            raise BundleUnusable(f"{card_path}: {name!r} is no plain file name")


def _check_listed(path: Path, files: Mapping[str, str]) -> None:
    for entry in sorted(path.iterdir()):
        if entry.name != CARD and entry.name not in files:
            raise BundleUnusable(f"{entry}: not listed in {CARD}")


def _check_digest(path: Path, expected: str) -> None:
    try:
        found = digest(path.read_bytes())
    except OSError as error:
        raise BundleUnusable(f"{path}: listed in {CARD} but not readable: {error}") from error
    if found != expected:
        raise BundleUnusable(f"{path}: {found} differs from the {expected} that {CARD} lists")
