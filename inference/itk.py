"""SimpleITK, loaded when something of it is first used.

The listener imports what the workers do and never resamples: it does without those 90 MB.
"""

from importlib import import_module
from typing import Any


def __getattr__(name: str) -> Any:  # noqa: ANN401  SimpleITK ships without types
    return getattr(import_module("SimpleITK"), name)
