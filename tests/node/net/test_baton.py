from threading import Event, Thread

import pytest

from node.net.baton import Baton

PATIENCE_S = 20


def test_one_carries_it_at_a_time_and_the_next_when_it_is_laid_down():
    baton, wants, got = Baton(), Event(), Event()

    def work():
        wants.set()
        with baton.carried():
            got.set()

    with baton.carried():
        other = Thread(target=work)
        other.start()
        assert wants.wait(PATIENCE_S)
        assert not got.is_set()
        with baton.laid_down():
            assert got.wait(PATIENCE_S)
    other.join(PATIENCE_S)
    assert not other.is_alive()


def test_it_is_carried_again_after_a_wait_that_failed_and_free_after_work_that_failed():
    baton = Baton()

    with pytest.raises(OSError, match="gone"), baton.carried(), baton.laid_down():
        raise OSError("gone")

    with baton.carried(), baton.laid_down(), baton.carried():
        pass
