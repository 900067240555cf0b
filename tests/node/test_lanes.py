import threading

import pytest

from node.lanes import Lanes

WITHIN_S = 20


@pytest.fixture
def lanes(monkeypatch):
    monkeypatch.setattr("node.lanes.ROUND_S", 0.1)
    made = Lanes("test")
    yield made
    made.close()


def test_what_came_of_all_destinations_is_added_up(lanes):
    assert lanes.run(["a", "b", "c"], {"a": 1, "b": 2, "c": 3}.get) == 6


def test_a_destination_that_is_served_is_left_alone_until_that_is_done(lanes):
    goes_on, calls = threading.Event(), []

    def serve(name):
        calls.append(name)
        goes_on.wait(WITHIN_S)
        return 1

    assert lanes.run(["slow"], serve) == 0
    assert lanes.busy() == ["slow"]
    assert lanes.run(["slow"], serve) == 0
    goes_on.set()
    lanes.close()

    assert calls == ["slow"]
    assert lanes.busy() == []


def test_an_error_in_time_is_raised_and_a_late_one_is_logged(lanes, caplog):
    with pytest.raises(KeyError):
        lanes.run(["a"], {}.__getitem__)

    goes_on = threading.Event()

    def fail_late(_name):
        goes_on.wait(WITHIN_S)
        raise ZeroDivisionError

    assert lanes.run(["b"], fail_late) == 0
    goes_on.set()
    lanes.close()

    assert "a destination could not be served: ZeroDivisionError" in caplog.text


def test_after_an_error_the_destination_is_served_again(lanes):
    with pytest.raises(KeyError):
        lanes.run(["a"], {}.__getitem__)

    assert lanes.run(["a"], lambda _name: 1) == 1
