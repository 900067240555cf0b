"""What can be wrong with the data that inference is given.

* InferenceError
  - BundleUnusable    a bundle does not load: a file is missing, a digest differs, a key is unknown
  - EngineUnavailable a back end cannot run here: the package, the device or the model is missing
    - NoDriver        there is no driver of GPUs: this machine is not meant to have one
  - DeviceLost        a GPU failed in the middle of a run: nothing more comes of it in this process
  - CaseUnusable      a case folder does not load: a file is missing, malformed or does not fit
  - TableUnusable     a table of text does not load: its encoding, its header or one of its lines
"""


class InferenceError(Exception):
    """Root of everything that inference raises about the world."""


class BundleUnusable(InferenceError):
    """A bundle does not load; the message names the file and the reason."""


class EngineUnavailable(InferenceError):
    """A back end cannot run here; the message says what is missing."""


class NoDriver(EngineUnavailable):
    """The library of NVIDIA's driver is not here."""


class DeviceLost(InferenceError):
    """A GPU failed in the middle of a run; only a new process can use it again."""


class CaseUnusable(InferenceError):
    """A case folder does not load; the message names the file and the reason."""


class TableUnusable(InferenceError):
    """A table of text does not load; the message names the file, the line and the reason."""
