"""The generative truth of a cohort of phantoms from several centres: who gets which label."""

import math
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import yaml

from inference.codec import Malformed, decode
from inference.phantom import SCANNERS, Phantom
from training.cohort import labels_of, logit_of
from training.labels import NodalClass
from training.outcomes import CohortUnusable
from training.recipe import Risk


@dataclass(frozen=True, kw_only=True)
class ClinicalRisk:
    """Weights of what images do not or hardly show, one for each standard deviation."""

    centrality: float
    """Of the tumour lying within 50 mm of the hilum."""
    age: float
    male: float


@dataclass(frozen=True, kw_only=True)
class TaskTruth:
    """The logistic model of one label, but for the site."""

    tumour: Risk
    clinical: ClinicalRisk

    def __post_init__(self) -> None:
        told = [
            *(name for name in vars(self.clinical) if getattr(self.tumour, name)),
            *self.tumour.sites,
        ]
        if told:
            raise ValueError(f"{told} belong under clinical and sites, not under tumour")


@dataclass(frozen=True, kw_only=True)
class Site:
    """A centre: how many of the patients it has, how ill they are, and what it scans with."""

    name: str
    share: float
    logit_shift: float
    """Added to the logit of both labels: a referral centre has more metastases of equal tumours."""
    scanners: tuple[str, ...]
    """Names of ``inference.phantom.SCANNERS``, each as often."""

    def __post_init__(self) -> None:
        unknown = sorted(set(self.scanners) - set(SCANNERS))
        if unknown or not self.scanners:
            raise ValueError(f"scanners are some of {', '.join(SCANNERS)}, got {unknown or 'none'}")


@dataclass(frozen=True, kw_only=True)
class Truth:
    """Everything that decides the labels of a cohort, read from one YAML file."""

    name: str
    occult_n1: TaskTruth
    occult_n2: TaskTruth
    sites: tuple[Site, ...]

    def __post_init__(self) -> None:
        shares = [site.share for site in self.sites]
        if len({site.name for site in self.sites}) < len(self.sites):
            raise ValueError("two sites have one name")
        if not shares or min(shares) <= 0 or abs(sum(shares) - 1) > 1e-9:
            raise ValueError(f"shares of sites must be positive and add up to 1, got {shares}")


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """What chance and truth made of one phantom."""

    site: Site
    scanner: str
    chances: tuple[float, float]
    """Of the classes N1 and N2."""
    nodal: NodalClass


def load_truth(path: Path) -> Truth:
    """Read a truth; ``CohortUnusable`` names a key that is unknown, missing or wrong."""
    try:
        return decode(Truth, yaml.safe_load(path.read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError, yaml.YAMLError, Malformed) as error:
        raise CohortUnusable(f"{path}: {error}") from error


def drawn(phantom: Phantom, truth: Truth) -> Drawn:
    """Return a phantom's site, scanner, chances and class, decided by its seed and the truth.

    The N2 label is drawn first in effect: whoever has it is N2; of the others, whoever has the N1
    label is N1. So the chance of the class N1 is p1 (1 - p2), where p1 and p2 are the labels'.
    """
    rng = np.random.default_rng([phantom.seed, 12])
    place = int(rng.choice(len(truth.sites), p=[site.share for site in truth.sites]))
    site = truth.sites[place]
    scanner = site.scanners[int(rng.integers(len(site.scanners)))]
    p1, p2 = (_chance(phantom, site, task) for task in (truth.occult_n1, truth.occult_n2))
    has_n1, has_n2 = labels_of(phantom.seed, (p1, p2))
    nodal = NodalClass.N2 if has_n2 else NodalClass.N1 if has_n1 else NodalClass.N0
    return Drawn(site=site, scanner=scanner, chances=(p1 * (1 - p2), p2), nodal=nodal)


def _chance(phantom: Phantom, site: Site, task: TaskTruth) -> float:
    risk = replace(task.tumour, **vars(task.clinical))
    logit = logit_of(phantom, risk) + site.logit_shift
    return 1.0 / (1.0 + math.exp(-logit))
