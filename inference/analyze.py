"""The whole of inference in one function: a calibrated PET/CT in, findings out."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from inference.applicability import judge
from inference.bundle import Bundle
from inference.engine import Engine
from inference.findings import Findings, Reason
from inference.lesion import LesionRules, locate
from inference.petct import PetCt
from inference.predict import predict


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
    lesions = locate(petct, rules)
    located = clock()
    inapplicable: tuple[Reason, ...] = ()
    predictions = ()
    if lesions:
        verdict = judge(petct, lesions[0], model.bundle)
        inapplicable = verdict.reasons
        if not verdict.withhold:
            predictions = predict(petct, lesions[0], model.bundle, model.engines)
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
        timings_s={"locate": located - started, "infer": clock() - located},
    )
