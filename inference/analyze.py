"""The whole of inference in one function: a calibrated PET/CT in, findings out."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from inference.applicability import judge
from inference.bundle import Bundle
from inference.engine import Engine
from inference.findings import Findings, Lesion, Prediction, Reason, Saliency
from inference.lesion import LesionRules, locate
from inference.measure import share_within
from inference.petct import PetCt
from inference.predict import predict
from inference.thorax import Thorax, find_thorax


@dataclass(frozen=True, kw_only=True)
class Model:
    """A bundle that is loaded and open: one engine for each of its tasks."""

    bundle: Bundle
    engines: Mapping[str, Engine]


def analyze(
    petct: PetCt, *, model: Model, rules: LesionRules, clock: Callable[[], float]
) -> Findings:
    """Find and measure the lesions of one study and predict from the primary tumour.

    ``clock`` gives seconds for the timings. Predictions are withheld, and say so by their absence
    and by ``inapplicable``, where the bundle's card does not cover the study.
    """
    started = clock()
    thorax = find_thorax(petct.ct)
    lesions = locate(petct, rules, thorax)
    located = clock()
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
        )
        inapplicable = verdict.reasons
        if not verdict.withhold:
            predictions, saliency = predict(petct, lesions[0], model.bundle, model.engines)
    else:
        inapplicable = (Reason(code="NO_LESION", meaning="no avid lesion was found in the thorax"),)
    engine = next(iter(model.engines.values()))
    return Findings(
        lesions=lesions,
        predictions=predictions,
        applicable=not inapplicable,
        inapplicable=inapplicable,
        bundle=model.bundle.identity,
        engine=engine.name,
        device=engine.device,
        precision=engine.precision,
        saliency=saliency,
        timings_s={"locate": located - started, "infer": clock() - located},
    )


def _placed(lesion: Lesion, thorax: Thorax) -> Lesion:
    inside = share_within(lesion.on_pet, thorax.cavity) >= 0.5
    return replace(lesion, site="thorax" if inside else None)
