"""A node that listens, and a PACS that commits."""

from contextlib import ExitStack

import pytest

from tests.node.net.commitment.parties import Node, Pacs


@pytest.fixture
def node(free_ports):
    with Node(free_ports()) as one:
        yield one


@pytest.fixture
def pacs(free_ports):
    with ExitStack() as stack:

        def start(**of):
            one = Pacs(free_ports(), **of)
            stack.callback(one.close)
            return one

        yield start
