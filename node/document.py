"""The outcome of one study as ``findings.json``: units in the names, absent numbers null."""

from collections.abc import Sequence
from typing import Any

from inference.findings import Findings, Lesion, Prediction, Reason
from inference.petct import PetCt


def analyzed_document(petct: PetCt, findings: Findings) -> dict[str, Any]:
    """Return the document of a study that was analysed."""
    return {
        "study_instance_uid": petct.study_instance_uid,
        "outcome": "analyzed",
        "reasons": [],
        "warnings": _reasons(tuple(dict.fromkeys((*petct.warnings, *findings.warnings)))),
        "pet": {
            "series_instance_uid": petct.pet_facts.series_instance_uid,
            "units": petct.pet_facts.units,
            "suvbw_factor": petct.pet_facts.suvbw_factor,
            "decay_reference": petct.pet_facts.decay_reference,
            "uptake_min": petct.pet_facts.uptake_min,
            "suv_max": float(petct.pet.voxels.max()),
            "shape": list(petct.pet.grid.shape),
            "spacing_mm": list(petct.pet.grid.spacing),
        },
        "ct": {
            "series_instance_uid": petct.ct_facts.series_instance_uid,
            "shape": list(petct.ct.grid.shape),
            "spacing_mm": list(petct.ct.grid.spacing),
        },
        "lesions": [_lesion(lesion) for lesion in findings.lesions],
        "predictions": [_prediction(prediction) for prediction in findings.predictions],
        "risk": findings.risk,
        "applicable": findings.applicable,
        "inapplicable": _reasons(findings.inapplicable),
        "bundle": {
            "name": findings.bundle.name,
            "version": findings.bundle.version,
            "digest": findings.bundle.digest,
        },
        "engine": findings.engine,
        "timings_s": dict(findings.timings_s),
    }


def refused_document(study_instance_uid: str, reasons: Sequence[Reason]) -> dict[str, Any]:
    """Return the document of a study that will never yield a result; it has the same keys."""
    return {
        "study_instance_uid": study_instance_uid,
        "outcome": "refused",
        "reasons": _reasons(reasons),
        "warnings": [],
        "pet": None,
        "ct": None,
        "lesions": [],
        "predictions": [],
        "risk": None,
        "applicable": False,
        "inapplicable": [],
        "bundle": None,
        "engine": None,
        "timings_s": {},
    }


def _reasons(reasons: Sequence[Reason]) -> list[dict[str, str]]:
    return [{"code": reason.code, "meaning": reason.meaning} for reason in reasons]


def _lesion(lesion: Lesion) -> dict[str, Any]:
    return {
        "label": lesion.label,
        "source": str(lesion.source),
        "suv_max": lesion.suv_max,
        "suv_mean": lesion.suv_mean,
        "suv_peak": lesion.suv_peak,
        "mtv_ml": lesion.mtv_ml,
        "tlg_g": lesion.tlg_g,
        "volume_ml": lesion.volume_ml,
        "longest_axial_diameter_mm": lesion.longest_axial_diameter_mm,
        "longest_diameter_mm": lesion.longest_diameter_mm,
        "centroid_lps_mm": list(lesion.centroid_lps_mm),
        "suv_max_lps_mm": list(lesion.suv_max_lps_mm),
        "laterality": lesion.laterality,
        "explanation": lesion.explanation,
    }


def _prediction(prediction: Prediction) -> dict[str, Any]:
    return {
        "task": prediction.task,
        "probability": prediction.probability,
        "cutoff": prediction.cutoff,
        "high": prediction.high,
        "possible": prediction.possible,
        "coverage": None if prediction.answers is None else prediction.answers.coverage,
        "distance": prediction.distance,
        "distance_max": prediction.distance_max,
    }
