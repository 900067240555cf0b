"""What names this software to other programs, on associations and in files (PS3.7 D.3.3.2)."""

from typing import Final

# Both stand in every file that is stored. They must never change: the same data set sent again
# after an upgrade has to give the same bytes, or it would look like another object.
IMPLEMENTATION_CLASS_UID: Final = "2.25.246129305129541327263183415146498021837"
IMPLEMENTATION_VERSION_NAME: Final = "PETCTNODE"
MODEL_NAME: Final = "petct-node"
"""Manufacturer's Model Name of all results: by it the node knows its own when they come back."""
