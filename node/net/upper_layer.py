"""Ends an association whose peer made pynetdicom's state machine fail.

pynetdicom lets what a malformed message raises end its own thread: the connection would stay open,
nobody would hear of the end, and the association would count against its peer for ever.
"""

import logging

from pynetdicom import fsm
from pynetdicom.association import Association
from typing_extensions import override

logger = logging.getLogger(__name__)


class UpperLayer(fsm.StateMachine):
    """The state machine of PS3.8 9.2, which answers what it cannot take by A-ABORT."""

    @override
    def do_action(self, event: str) -> None:
        """Take one step; where it fails, abort, close the connection and say so."""
        try:
            super().do_action(event)
        except Exception as error:  # noqa: BLE001  the peer chose what was raised
            association = self.dul.assoc
            peer = association.requestor if association.is_acceptor else association.acceptor
            logger.warning(
                "%s:%s sent what cannot be understood (%s): given up",
                peer.address,
                peer.port,
                type(error).__name__,
            )
            fsm.AA_8(self.dul)  # A-ABORT to the peer, an indication to us
            fsm.AA_2(self.dul)  # the end of the connection, which our handlers hear of


def replace_state_machine(association: Association) -> None:
    """Put ours below an association that pynetdicom has just made."""
    association.dul.state_machine = UpperLayer(association.dul)
