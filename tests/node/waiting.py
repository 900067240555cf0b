"""How long a node waits for the rest of a study."""

from datetime import timedelta

from node.completeness import Patience

PATIENCE = Patience(
    quiet=timedelta(seconds=30),
    association_quiet=timedelta(seconds=3),
    counterpart=timedelta(hours=2),
    give_up=timedelta(hours=24),
)
