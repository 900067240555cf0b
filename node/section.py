"""The form that every section of the settings has, and the values that many of them hold."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

# PS3.5 6.2, VR AE: at most 16 characters of the default repertoire, no backslash, not only spaces.
AETitle = Annotated[
    str,
    StringConstraints(
        min_length=1,
        max_length=16,
        pattern=r"^[\x20-\x5b\x5d-\x7e]*[\x21-\x5b\x5d-\x7e][\x20-\x5b\x5d-\x7e]*$",
    ),
]
Port = Annotated[int, Field(ge=1, le=65535)]
Seconds = Annotated[float, Field(ge=0)]
Interval = Annotated[float, Field(gt=0)]
"""Seconds that a limit needs: none at all would stop everybody."""


class Section(BaseModel):
    """Base of every section: unknown keys are errors, values are fixed."""

    model_config = ConfigDict(frozen=True, extra="forbid")
