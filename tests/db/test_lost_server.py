"""A PostgreSQL server that vanishes without a word: a host that lost its power, a cut cable."""

import select
import socket
import struct
import threading
import time
from contextlib import suppress

import pytest
from sqlalchemy import text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError

from db.engine import connect, reading, writing
from db.migrate import ADVISORY_LOCK, upgrade
from db.postgresql import SETTINGS

SILENCE_S = 2.0
PROMPTLY_S = 60


class Wire:
    """Carries bytes to and from a server for as long as it is whole; cut, it keeps all to itself.

    Connections stay open and can still be made, as with a host that is gone: nobody says so.
    """

    def __init__(self, port):
        self._server = ("127.0.0.1", port)
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        self.is_whole = threading.Event()
        self.is_whole.set()
        self._over = threading.Event()
        self._sockets = [self._listening]
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def reset(self):
        """End what is open as a host does that has just started: by RST."""
        self._end_carrying()
        for one in self._sockets[1:]:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            one.close()

    def close(self):
        self._end_carrying()
        for one in self._sockets:
            one.close()

    def _end_carrying(self):
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _accept(self):
        while not self._over.is_set():
            if select.select([self._listening], [], [], 0.05)[0]:
                near, _ = self._listening.accept()
                far = socket.create_connection(self._server)
                self._sockets += [near, far]
                self._threads.append(threading.Thread(target=self._carry, args=(near, far)))
                self._threads[-1].start()

    def _carry(self, near, far):
        while not self._over.is_set():
            if not self.is_whole.wait(0.05):
                continue
            for one in select.select([near, far], [], [], 0.05)[0]:
                told = b""
                with suppress(OSError):
                    told = one.recv(65536)
                if not told:
                    return
                with suppress(OSError):
                    (far if one is near else near).sendall(told)


@pytest.fixture
def wire(postgresql):
    made = Wire(make_url(postgresql.url("postgres")).port)
    yield made
    made.close()


@pytest.fixture
def engine(postgresql, wire):
    url = make_url(postgresql.empty()).set(port=wire.port)
    engine = connect(url.render_as_string(hide_password=False), silence_s=SILENCE_S)
    yield engine
    engine.dispose()


def one(connection):
    return connection.execute(text("SELECT 1")).scalar_one()


def test_a_statement_that_is_never_answered_fails_and_the_next_ones_go_on(engine, wire):
    begun = time.monotonic()

    def ask_twice():
        with reading(engine) as connection:
            one(connection)
            wire.is_whole.clear()
            one(connection)

    with pytest.raises(DBAPIError) as failure:
        ask_twice()
    assert failure.value.connection_invalidated
    assert SILENCE_S <= time.monotonic() - begun < PROMPTLY_S

    wire.is_whole.set()
    with reading(engine) as connection:
        assert one(connection) == 1


def test_a_commit_that_is_never_answered_fails(engine, wire):
    def commit():
        with writing(engine) as connection:
            connection.execute(text("CREATE TABLE t (n integer)"))
            wire.is_whole.clear()

    with pytest.raises(DBAPIError):
        commit()


def test_a_server_that_never_answers_a_new_connection_is_given_up(engine, wire):
    wire.is_whole.clear()
    begun = time.monotonic()

    with pytest.raises(DBAPIError), reading(engine):
        pass

    assert time.monotonic() - begun < PROMPTLY_S


def test_a_connection_that_died_in_the_pool_is_replaced_before_it_is_used(engine, wire):
    with reading(engine) as connection:
        assert one(connection) == 1
    wire.is_whole.clear()
    threading.Timer(2 * SILENCE_S, wire.is_whole.set).start()
    attempts = 0
    end = time.monotonic() + PROMPTLY_S
    while time.monotonic() < end:
        attempts += 1
        with suppress(DBAPIError), reading(engine) as connection:
            assert one(connection) == 1
            break

    assert attempts <= 4


def test_the_server_bounds_statements_and_locks_before_we_give_it_up(postgresql):
    engine = connect(postgresql.empty())
    with reading(engine) as connection:
        said = {
            name: connection.execute(text(f"SHOW {name}")).scalar_one()
            for name in ("lock_timeout", "statement_timeout", "tcp_keepalives_idle")
        }
    engine.dispose()

    assert said == {"lock_timeout": "30s", "statement_timeout": "1min", "tcp_keepalives_idle": "30"}


def test_a_row_that_another_holds_is_waited_for_no_longer_than_is_allowed(postgresql, monkeypatch):
    monkeypatch.setitem(SETTINGS, "lock_timeout", "100ms")
    engine = connect(postgresql.ready())
    with writing(engine) as holder, writing(engine) as other:
        holder.execute(text("LOCK TABLE studies"))
        with pytest.raises(DBAPIError) as failure:
            other.execute(text("LOCK TABLE studies"))
        other.rollback()
    engine.dispose()

    assert not failure.value.connection_invalidated
    assert "lock timeout" in str(failure.value.orig)


def test_a_migration_may_take_longer_than_any_statement(postgresql, monkeypatch):
    """It waits two seconds for the turn of another process, longer than is allowed here."""
    monkeypatch.setitem(SETTINGS, "statement_timeout", "1s")
    monkeypatch.setitem(SETTINGS, "lock_timeout", "1s")
    url = postgresql.empty()
    other = connect(url)
    with writing(other) as connection:
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": ADVISORY_LOCK})
        waiting = threading.Thread(target=upgrade, args=(url,))
        waiting.start()
        waiting.join(2)
        assert waiting.is_alive()
    waiting.join()
    with reading(other) as connection:
        assert connection.execute(text("SELECT count(*) FROM studies")).scalar_one() == 0
    other.dispose()


def test_a_connection_that_is_reset_fails_as_the_database_does(engine, wire):
    """The driver tells of a reset by a bare OSError, for which nobody would look."""

    def ask_after_reset():
        with reading(engine) as connection:
            wire.reset()
            one(connection)

    with pytest.raises(DBAPIError) as failure:
        ask_after_reset()

    assert failure.value.connection_invalidated
