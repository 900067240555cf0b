"""How a collection of studies is laid out: what its tables and contours are called."""

from collections.abc import Mapping
from pathlib import Path

import yaml
from pydantic import Field, ValidationError

from node.config import ConfigError
from node.section import Section

FOLDER = Path(__file__).parent / "layouts"


class Table(Section):
    """Which columns of a clinical table are kept, and under which name."""

    patient: str
    """The column that holds the Patient ID."""
    patient_prefix: str = ""
    """What Patient IDs in the headers begin with and those in the table may lack."""
    columns: Mapping[str, str]
    """The name of an outcome or covariate, and the column that holds it; all others are dropped."""
    values: Mapping[str, Mapping[str, str]] = Field(default_factory=dict)
    """For a name, what each of the table's values becomes; a value that is not listed stays."""


class Layout(Section):
    """One collection; every fact that could be otherwise in a later release is a key here."""

    deidentified: bool = False
    """Somebody took names and UIDs away before: Patient IDs may stay, and no key is needed."""
    contour_names: tuple[str, ...] = ()
    """Names of contours and segments that are the primary tumour; empty: those of the settings."""
    contour_codes: tuple[str, ...] = ()
    boxes: bool = False
    """A folder of Pascal VOC files named by SOP Instance UID belongs to it."""
    table: Table | None = None


def names() -> tuple[str, ...]:
    """Return the layouts that ship."""
    return tuple(sorted(path.stem for path in FOLDER.glob("*.yaml")))


def load(name: str) -> Layout:
    """Return a layout that ships, or that of a YAML file; ``ConfigError`` where it is neither."""
    path = FOLDER / f"{name}.yaml" if name in names() else Path(name)
    if not path.is_file():
        raise ConfigError(f"{name} is no file and none of the layouts {', '.join(names())}")
    try:
        return Layout.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not YAML: {error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "the whole"
        raise ConfigError(f"{path}: {place}: {first['msg']}") from error
