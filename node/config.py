"""The settings of one installation: read once from config.yaml, checked, frozen."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import Field, ValidationError, field_validator, model_validator
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError
from typing_extensions import override

from node.access import Audit, KnownPeer, ListenerTls, Tls
from node.section import AETitle, Interval, Port, Seconds, Section

DATABASE_PASSWORD = "PETCT_DATABASE_PASSWORD"  # noqa: S105  the variable's name, not a password


Days = Annotated[float, Field(ge=0)]


class ConfigError(Exception):
    """The configuration cannot be used; the message names each key by its path."""


class Peer(Section):
    """A remote application entity."""

    ae_title: AETitle
    host: str = Field(min_length=1)
    port: Port
    tls: Tls | None = None


class Destination(Peer):
    """A remote application entity that results are sent to, and what shows that it keeps them."""

    commitment: Literal["auto", "required", "find", "none"] = "auto"


class Listener(Section):
    """Our own application entity and what it takes."""

    ae_title: AETitle = "PETCTNODE"
    host: str = "127.0.0.1"
    port: Port = 11112
    calling_ae_titles: tuple[AETitle, ...] = ()
    peers: tuple[KnownPeer, ...] = ()
    require_called_ae_title: bool = False
    tls: ListenerTls | None = None
    max_associations: int = Field(default=16, ge=1, le=512)
    max_associations_per_address: int = Field(default=16, ge=1, le=512)
    max_pdu_bytes: int = Field(default=131072, ge=16384)
    max_instance_bytes: int = Field(default=2_000_000_000, ge=1_000_000)
    handshake_timeout_s: Interval = 10
    idle_timeout_s: Interval = 60
    message_timeout_s: Interval = 900
    fast: bool = True

    @model_validator(mode="after")
    def _can_take_every_peer_that_it_names(self) -> Self:
        for peer in self.peers:
            if self.tls is None and (peer.require_tls or peer.names_a_certificate):
                raise ValueError(f"peer {peer.ae_title} needs TLS, and listener.tls is not set")
        return self


class Store(Section):
    """Where instances and results lie."""

    root: Path = Path("var/store")
    free_bytes_min: int = Field(default=2_000_000_000, ge=0)
    bytes_max: int | None = Field(default=None, ge=0)
    journal_bytes: int = Field(default=256_000_000, ge=0)


class Retention(Section):
    """What is deleted when; None: it is kept for ever."""

    instances_days: Days | None = None
    results_days: Days | None = None
    failed_days: Days | None = None
    quarantine_days: Days | None = None
    pledged_days: Days | None = None
    store_bytes_max: int | None = Field(default=None, ge=0)
    free_bytes_min: int | None = Field(default=None, ge=0)
    interval_s: Annotated[float, Field(ge=1)] = 300


class Database(Section):
    """Where the node remembers."""

    url: str = Field(default="sqlite:///var/node.sqlite3", repr=False)
    password_file: Path | None = None

    @field_validator("url")
    @classmethod
    def _names_a_database(cls, url: str) -> str:
        try:
            parsed = make_url(url)
        except ArgumentError:
            raise ValueError("not a database URL, as sqlite:///var/node.sqlite3 is") from None
        if parsed.get_backend_name() not in {"sqlite", "postgresql"}:
            raise ValueError("only sqlite and postgresql are supported")
        if parsed.get_backend_name() == "sqlite" and parsed.database in {None, "", ":memory:"}:
            raise ValueError("name a file: what the node remembers must outlive its process")
        return url

    def opened(self, environment: Mapping[str, str]) -> str:
        """Return the URL with the password that the file or the environment holds, if any.

        Raises ConfigError where the file cannot be read. The result is not to be shown.
        """
        password = environment.get(DATABASE_PASSWORD)
        if self.password_file is not None:
            try:
                password = self.password_file.read_text(encoding="utf-8").rstrip("\r\n")
            except (OSError, UnicodeDecodeError) as error:
                what = getattr(error, "strerror", None) or "not UTF-8"
                raise ConfigError(f"database.password_file: {what}") from None
        url = make_url(self.url)
        if password is None or url.get_backend_name() == "sqlite":
            return self.url
        return url.set(password=password).render_as_string(hide_password=False)

    @property
    def holds_a_password(self) -> bool:
        """Whether the URL itself holds a password, which everybody reads who reads the file."""
        return make_url(self.url).password is not None

    @property
    def shown(self) -> str:
        """The URL without its password."""
        return make_url(self.url).render_as_string(hide_password=True)

    @property
    def file(self) -> Path | None:
        """The file of an SQLite database, or None."""
        url = make_url(self.url)
        return Path(str(url.database)) if url.get_backend_name() == "sqlite" else None


class Assembly(Section):
    """When a study is taken up."""

    sources: dict[str, Peer] = Field(default_factory=dict)
    quiet_s: Seconds = 30
    association_quiet_s: Seconds = 3
    counterpart_s: Seconds = 7200
    give_up_s: Seconds = 86400


class Selection(Section):
    """Which contours count as the primary tumour, the most trusted first."""

    contour_names: tuple[str, ...] = (
        "GTVp",
        "GTV-1",
        "GTV",
        "primary",
        "tumor",
        "tumour",
        "neoplasm",
        "lesion",
    )
    contour_codes: tuple[str, ...] = (
        "SCT:86049000",
        "SCT:108369006",
        "SCT:52988006",
        "SCT:4147007",
    )


class LesionRules(Section):
    """How the primary tumour is found and measured without a contour."""

    threshold_fraction: float = Field(default=0.41, gt=0, lt=1)
    suv_min: float = Field(default=2.5, gt=0)


BATCH_MAX = 8
"""So many cases a plan of TensorRT takes."""


class Model(Section):
    """Which bundle runs on which back end."""

    bundle: Path | None = None
    engine: Literal["auto", "openvino", "onnxruntime", "torch", "tensorrt", "tensorrt-rtx"] = "auto"
    precision: Literal["auto", "f32", "f16", "bf16", "int8"] = "auto"
    threads: int | None = Field(default=None, ge=1)
    devices: tuple[Annotated[int, Field(ge=0)], ...] = Field(default=(0,), min_length=1)
    plans: Path = Path("var/plans")
    batch: int = Field(default=1, ge=1, le=BATCH_MAX)


class Workers(Section):
    """Processes that analyse studies."""

    processes: int = Field(default=1, ge=0, le=64)
    lease_s: Annotated[float, Field(ge=1)] = 60
    attempts: int = Field(default=3, ge=1)
    timeout_s: Annotated[float, Field(ge=30)] | None = 3600
    memory_bytes_max: Annotated[int, Field(ge=100_000_000)] | None = None
    studies_max: Annotated[int, Field(ge=1)] | None = None


class Results(Section):
    """What is made of the findings."""

    refusals: bool = True
    segmentation_grid: Literal["CT", "PET"] = "CT"
    key_image: bool = True
    rotating_mip: bool = False
    saliency_map: bool = True
    hydratable: bool = False
    supersede: Literal["none", "reject"] = "none"
    rejection_title: Literal["113039", "113001"] = "113039"
    manufacturer: str = "petct-node project"
    device_serial_number: str = "1"
    institution: str = ""


class Delivery(Section):
    """How owed objects reach their destinations."""

    retry_first_s: Seconds = 5
    retry_longest_s: Seconds = 600
    timeout_s: Seconds = 30
    commitment_wait_s: Seconds = 2
    commitment_timeout_s: Annotated[float, Field(ge=1)] = 3600


class Telemetry(Section):
    """Where the traces of studies go: to a file, to a collector or nowhere."""

    file: Path | None = None
    endpoint: str | None = Field(default=None, pattern=r"^https?://[\w.\[\]:-]+/\S*$")
    tls: Tls | None = None
    wait_s: Seconds = 600

    @model_validator(mode="after")
    def _names_one_place(self) -> Self:
        if self.file is not None and self.endpoint is not None:
            raise ValueError("traces go to file or to endpoint, not to both")
        if (self.endpoint or "").startswith("https:") != (self.tls is not None):
            raise ValueError("an endpoint with https needs the section tls, and only it takes one")
        return self


class Settings(Section):
    """Everything that one installation can set."""

    listener: Listener = Listener()
    store: Store = Store()
    retention: Retention = Retention()
    database: Database = Database()
    assembly: Assembly = Assembly()
    selection: Selection = Selection()
    lesion: LesionRules = LesionRules()
    model: Model = Model()
    workers: Workers = Workers()
    results: Results = Results()
    destinations: dict[str, Destination] = Field(default_factory=dict)
    delivery: Delivery = Delivery()
    audit: Audit = Audit()
    telemetry: Telemetry = Telemetry()
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"


class _Loader(yaml.SafeLoader):
    """Reads YAML in which a key given twice is an error, not a surprise."""

    @override
    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for number, key in enumerate(keys):
            if key in keys[:number]:
                mark = node.value[number][0].start_mark
                raise yaml.constructor.ConstructorError(
                    problem=f"key {key!r} is given twice", problem_mark=mark
                )
        return super().construct_mapping(node, deep=deep)


def settings_from(document: object, *, place: str = "config") -> Settings:
    """Check a parsed document; a wrong key is named by its path: ``destinations.pacs.prt``."""
    try:
        return Settings.model_validate({} if document is None else document)
    except ValidationError as error:
        lines = [_line(detail["loc"], detail["type"], detail["msg"]) for detail in error.errors()]
        raise ConfigError(f"{place}: " + "; ".join(lines)) from None


def read(path: Path) -> Settings:
    """Read ``path``; raise ConfigError where it is absent, is not YAML or holds a wrong key."""
    try:
        text = path.read_text(encoding="utf-8")
        document = yaml.load(text, Loader=_Loader)  # noqa: S506  derived from SafeLoader
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        line = f", line {mark.line + 1}" if mark else ""
        raise ConfigError(f"{path}{line}: not YAML: {error.problem}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not YAML: {error}") from error
    return settings_from(document, place=str(path))


def _line(location: tuple[int | str, ...], kind: str, message: str) -> str:
    where = ".".join(str(part) for part in location) or "the document"
    return f"{where}: unknown key" if kind == "extra_forbidden" else f"{where}: {message}"
