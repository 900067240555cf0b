"""The whole of inference in one function: a calibrated PET/CT in, findings out."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from inference.applicability import judge, unfamiliar
from inference.bundle import Bundle
from inference.engine import Engine
from inference.findings import Findings, Lesion, Prediction, Reason, Saliency
from inference.lesion import LesionRules, locate
from inference.measure import share_within
from inference.nodes import nodal_foci
from inference.petct import PetCt
from inference.predict import predict
from inference.stages import stage
from inference.thorax import Thorax, find_thorax


@dataclass(frozen=True, kw_only=True)
class Model:
    """A bundle that is loaded and open: one engine for each of its tasks."""

    bundle: Bundle
    engines: Mapping[str, Engine]

    def found_nothing(self) -> Findings:
        """Return what findings tell of the model whatever is found."""
        engine = next(iter(self.engines.values()))
        return Findings(
            lesions=(),
            predictions=(),
            applicable=False,
            inapplicable=(),
            bundle=self.bundle.identity,
            engine=engine.name,
            device=engine.device,
            precision=engine.precision,
        )


def analyze(
    petct: PetCt, *, model: Model, rules: LesionRules, meanwhile: Callable[[], None] | None = None
) -> Findings:
    """Find and measure the lesions of one study and predict from the primary tumour.

    ``meanwhile`` is done while the search has nothing for this thread to do.

    Predictions are withheld, and say so by their absence and by ``inapplicable``, where the
    bundle's card does not cover the study.
    """
    with stage("locate"):
        with stage("thorax"):
            thorax = find_thorax(petct.ct, petct.ct_means)
        with stage("lesions"):
            lesions = locate(petct, rules, thorax, meanwhile=meanwhile)
    with stage("infer"):
        return _predicted(petct, lesions, thorax, model)


def _predicted(petct: PetCt, lesions: tuple[Lesion, ...], thorax: Thorax, model: Model) -> Findings:
    inapplicable: tuple[Reason, ...] = ()
    predictions: tuple[Prediction, ...] = ()
    saliency: tuple[Saliency, ...] = ()
    if lesions:
        lesions = tuple(_placed(lesion, thorax) for lesion in lesions)
        verdict = judge(
            petct,
            lesions[0],
            model.bundle,
            lung_volume_ml=thorax.lung_volume_ml,
            lesion_in_thorax=lesions[0].site == "thorax",
            nodal_foci=nodal_foci(lesions, thorax),
        )
        inapplicable = verdict.reasons
        if not verdict.withhold:
            predictions, saliency = predict(petct, lesions[0], model.bundle, model.engines)
            inapplicable = (*inapplicable, *unfamiliar(predictions))
    else:
        inapplicable = (Reason(code="NO_LESION", meaning="no avid lesion was found in the thorax"),)
    return replace(
        model.found_nothing(),
        lesions=lesions,
        predictions=predictions,
        applicable=not inapplicable,
        inapplicable=inapplicable,
        saliency=saliency,
    )


def _placed(lesion: Lesion, thorax: Thorax) -> Lesion:
    inside = share_within(lesion.on_pet, thorax.cavity) >= 0.5
    return replace(lesion, site="thorax" if inside else None)
