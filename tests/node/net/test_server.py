"""The server below the listener, while nobody calls."""

import gc

import pytest
from pynetdicom import AE

from node.net.deadline import Bounds
from node.net.server import Door, Server

pytestmark = pytest.mark.associations

ROUNDS_OF_PYNETDICOM = 60


def test_a_server_never_looks_through_the_whole_memory(free_port):
    """pynetdicom would once in sixty rounds, and hold all threads up meanwhile."""
    ae = AE()
    ae.add_supported_context("1.2.840.10008.1.1")
    bounds = Bounds(begin_s=10, pdu_s=10, pdu_bytes=16384)
    server = Server(
        ae, ("127.0.0.1", free_port), handlers=[], door=Door(bounds=bounds, per_address=1)
    )
    gc.disable()  # what it does of itself is another matter
    try:
        before = gc.get_stats()[2]["collections"]
        for _ in range(2 * ROUNDS_OF_PYNETDICOM):
            server.service_actions()
        after = gc.get_stats()[2]["collections"]
    finally:
        gc.enable()
        server.close()

    assert after == before
