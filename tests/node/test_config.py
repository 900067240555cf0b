from itertools import pairwise
from pathlib import Path

import pytest
import yaml

from node.config import ConfigError, Section, Settings, read, settings_from

CONFIG = Path(__file__).parents[2] / "config.yaml"


def keys(section, place=""):
    """Every key that can be set, by its path."""
    for name, field in section.model_fields.items():
        yield f"{place}{name}"
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, Section):
            yield from keys(kind, f"{place}{name}.")


def test_the_file_documents_the_defaults():
    assert read(CONFIG) == Settings()


def test_the_file_names_every_key():
    document = yaml.safe_load(CONFIG.read_text(encoding="utf-8"))

    def has(path):
        here = document
        for part in path.split("."):
            if part not in here:
                return False
            here = here[part]
        return True

    assert [path for path in keys(Settings) if not has(path)] == []


def test_every_key_of_the_file_has_a_comment_above_it():
    lines = CONFIG.read_text(encoding="utf-8").splitlines()
    uncommented = [
        line
        for before, line in pairwise(lines)
        if line.strip() and not line.lstrip().startswith("#") and before.strip()[:1] != "#"
    ]

    # These two share the comment of manufacturer, above them.
    assert [line.split(":")[0].strip() for line in uncommented] == [
        "device_serial_number",
        "institution",
    ]


@pytest.mark.parametrize(
    ("document", "path"),
    [
        ({"listner": {}}, "listner: unknown key"),
        ({"listener": {"prt": 104}}, "listener.prt: unknown key"),
        (
            {"destinations": {"pacs": {"ae_title": "PACS", "host": "h", "port": 104, "prt": 1}}},
            "destinations.pacs.prt: unknown key",
        ),
        ({"destinations": {"pacs": {"ae_title": "PACS", "host": "h"}}}, "destinations.pacs.port: "),
        ({"listener": {"port": 70000}}, "listener.port: "),
        ({"listener": {"ae_title": "SEVENTEEN LETTERS"}}, "listener.ae_title: "),
        ({"listener": {"ae_title": "BACK\\SLASH"}}, "listener.ae_title: "),
        ({"listener": {"ae_title": "   "}}, "listener.ae_title: "),
        ({"lesion": {"threshold_fraction": 41}}, "lesion.threshold_fraction: "),
        ({"assembly": {"quiet_s": -1}}, "assembly.quiet_s: "),
        ([], "the document: "),
    ],
)
def test_a_wrong_key_is_named_by_its_path(document, path):
    with pytest.raises(ConfigError) as caught:
        settings_from(document, place="config.yaml")

    assert f"config.yaml: {path}" in str(caught.value)


def test_every_wrong_key_is_named_at_once():
    with pytest.raises(ConfigError, match=r"store\.rot: .*; workers\.proceses: "):
        settings_from({"store": {"rot": "x"}, "workers": {"proceses": 2}})


def test_an_empty_file_means_the_defaults(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text("")

    assert read(path) == Settings()


@pytest.mark.parametrize("content", [b"listener: [", b"\xff\xfe\x00", b"a: b: c"])
def test_a_file_that_is_no_yaml_is_named(tmp_path, content):
    path = tmp_path / "config.yaml"
    path.write_bytes(content)

    with pytest.raises(ConfigError, match=r"config\.yaml"):
        read(path)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"absent\.yaml: No such file"):
        read(tmp_path / "absent.yaml")


def test_settings_are_frozen():
    with pytest.raises(ValueError, match="frozen"):
        Settings().listener.port = 104
