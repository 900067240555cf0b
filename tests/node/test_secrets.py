"""The password of the database: where it may lie, and that it is shown nowhere."""

import io
import pickle

import pytest
from rich.console import Console

from node.cli import main
from node.cli.check import check
from node.config import DATABASE_PASSWORD, ConfigError, Settings, settings_from

URL = "postgresql://node@127.0.0.1:1/petct"


def database(**section):
    return settings_from({"database": section}).database


def test_the_password_comes_from_a_file_or_the_environment(tmp_path):
    (tmp_path / "password").write_text("from a file: 50%@/\n")
    environment = {DATABASE_PASSWORD: "from outside"}

    assert database(url=URL).opened({}) == URL
    assert database(url=URL).opened(environment) == URL.replace("node@", "node:from outside@")
    assert database(url=URL, password_file=tmp_path / "password").opened(environment) == (
        URL.replace("node@", "node:from a file%3A 50%25%40%2F@")
    )


def test_sqlite_has_no_password():
    assert Settings().database.opened({DATABASE_PASSWORD: "secret"}) == Settings().database.url


def test_a_password_file_that_is_not_there_is_named_by_its_key(tmp_path):
    with pytest.raises(ConfigError, match=r"database\.password_file: No such file"):
        database(url=URL, password_file=tmp_path / "absent").opened({})


def test_settings_do_not_show_a_password_and_still_pass_it_to_the_workers():
    settings = settings_from(
        {
            "database": {"url": "postgresql://node:hush@db/petct"},
            "listener": {"peers": [{"ae_title": "PACS", "addresses": ["10.0.0.0/8", "::1"]}]},
        }
    )

    assert "hush" not in repr(settings)
    assert "hush" not in str(settings)
    assert "hush" not in settings.database.shown
    passed = pickle.loads(pickle.dumps(settings))
    assert passed == settings
    assert passed.database.opened({}).count("hush") == 1


def test_a_wrong_url_is_refused_without_repeating_it():
    with pytest.raises(ConfigError) as caught:
        database(url="postgresql://node:hush@db:port/petct")

    assert "hush" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "noted"), [("postgresql://node:hush@127.0.0.1:1/petct", True), (URL, False)]
)
def test_check_warns_of_a_password_in_the_configuration_and_does_not_show_it(
    settings_of, url, noted
):
    screen = io.StringIO()
    settings = settings_of(database={"url": url})

    check(settings, Console(file=screen, width=400), quick=True)

    assert "hush" not in screen.getvalue()
    assert (
        "the password of the database stands in the configuration" in screen.getvalue()
    ) == noted


def test_a_command_that_finds_no_database_does_not_show_the_password(tmp_path, capsys):
    path = tmp_path / "config.yaml"
    path.write_text("database: {url: 'postgresql://node:hush@127.0.0.1:1/petct'}")

    assert main(["status", "--config", str(path)]) == 2

    assert "hush" not in "".join(capsys.readouterr())


@pytest.mark.parametrize(
    ("listener", "notes"),
    [
        ({}, []),
        ({"host": "0.0.0.0"}, ["everybody", "not encrypted"]),
        ({"host": "0.0.0.0", "calling_ae_titles": ["PACS"]}, ["not encrypted"]),
        ({"host": "0.0.0.0", "peers": [{"ae_title": "PACS"}]}, ["not encrypted"]),
    ],
)
def test_check_notes_what_a_network_could_reach(settings_of, listener, notes):
    screen = io.StringIO()

    check(settings_of(listener=listener), Console(file=screen, width=400), quick=True)

    said = [line for line in screen.getvalue().splitlines() if line.startswith("note")]
    assert len(said) == len(notes) + 1  # and that no destination is configured
    assert all(any(note in line for line in said) for note in notes)


def test_check_looks_at_the_files_of_tls_and_of_the_audit_trail(settings_of, authority, tmp_path):
    screen = io.StringIO()
    files = {"certificate": authority.folder / "node.pem", "ca": authority.ca}
    (tmp_path / "audit").mkdir()
    settings = settings_of(listener={"tls": files}, audit={"file": tmp_path / "audit"})

    assert check(settings, Console(file=screen, width=400), quick=True) == 2

    assert "failed tls: " in screen.getvalue()
    assert "node.pem and the key in it: " in screen.getvalue()
    assert "failed audit: " in screen.getvalue()
