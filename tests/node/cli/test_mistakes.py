"""A mistake in the configuration or of the machine is one line and exit status 2, no traceback."""

import socket

import pytest

from node.cli import main


@pytest.fixture
def config(tmp_path):
    def write(text):
        path = tmp_path / "config.yaml"
        path.write_text(text)
        return str(path)

    return write


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("listener: {port: 1, port: 2}", "line 1: not YAML: key 'port' is given twice"),
        ("listener: {", "line 1: not YAML"),
        ("database: {url: rubbish}", "database.url: Value error, not a database URL"),
        ("database: {url: 'sqlite:///:memory:'}", "name a file"),
        ("database: {url: 'mysql://host/name'}", "only sqlite and postgresql"),
        ("database: {url: 'sqlite:////proc/none/node.sqlite3'}", "no database at /proc/none"),
    ],
)
def test_a_wrong_configuration_is_named(config, capsys, text, said):
    assert main(["status", "--config", config(text)]) == 2

    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1


def test_status_in_the_wrong_folder_makes_no_database(config, tmp_path, capsys):
    url = f"sqlite:///{tmp_path / 'absent' / 'node.sqlite3'}"

    assert main(["status", "--config", config(f"database: {{url: '{url}'}}")]) == 2

    assert "no database at" in capsys.readouterr().err
    assert not (tmp_path / "absent").exists()


def test_a_damaged_database_is_one_line(config, tmp_path, capsys):
    (tmp_path / "node.sqlite3").write_bytes(b"not a database" * 100)
    url = f"sqlite:///{tmp_path / 'node.sqlite3'}"

    assert main(["status", "--config", config(f"database: {{url: '{url}'}}")]) == 2

    assert capsys.readouterr().err == "petct-node: file is not a database\n"


def _serving(tmp_path, port, store):
    return (
        f"listener: {{port: {port}}}\nworkers: {{processes: 0}}\n"
        f"store: {{root: {store}}}\n"
        f"database: {{url: 'sqlite:///{tmp_path / 'node.sqlite3'}'}}\n"
    )


@pytest.fixture
def unheard(monkeypatch):
    """Keeps the command from taking over the signals of the test run."""
    monkeypatch.setattr("signal.signal", lambda *_: None)


def test_a_port_in_use_stops_the_start(config, tmp_path, capsys, unheard):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

        assert main(["serve", "--config", config(_serving(tmp_path, port, tmp_path / "s"))]) == 2

    assert "Address already in use" in capsys.readouterr().err


def test_a_store_that_cannot_be_written_stops_the_start(
    config, tmp_path, free_port, capsys, unheard
):
    assert main(["serve", "--config", config(_serving(tmp_path, free_port, "/proc/none"))]) == 2

    assert "/proc/none cannot be written" in capsys.readouterr().err
