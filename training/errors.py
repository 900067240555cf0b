"""What stops a training run, and what follows.

* TrainingFailed
  - CheckpointUnusable    give another folder, or the recipe that the checkpoint was made with
  - PretrainedUnusable    give a file whose weights fit the encoder
  - Diverged              lower the learning rate, or look at the images
  - NoOdds                take other covariates, or more cases; of training.odds
  - NoCovariates          the same; of training.clinical
"""


class TrainingFailed(Exception):
    """A run cannot go on; the message says why."""


class CheckpointUnusable(TrainingFailed):
    """A checkpoint is of another run, or damaged; the message names its file."""


class PretrainedUnusable(TrainingFailed):
    """A file of weights does not fit; the message names it and what is missing."""


class Diverged(TrainingFailed):
    """The loss is no number any more."""
