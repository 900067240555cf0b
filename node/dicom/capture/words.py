"""What is written beside the images: numbers, predictions, reservations; nothing of the patient."""

from inference.findings import Findings, Lesion, Prediction, in_percent
from inference.petct import PetCt
from node.dicom.capture.colours import FURTHER, INK, MUTED, WARN
from node.dicom.capture.text import Line
from node.dicom.codes import task_label

NOTHING_FOUND = "No lesion that meets the rules was found."
WHERE_IT_LOOKED = "Where the network looked"


def title(petct: PetCt, lesion: Lesion | None) -> str:
    """Return what was analysed, and what the picture is about."""
    subject = "no lesion found" if lesion is None else f"{lesion.label} lesion"
    return f"{petct.pet_facts.tracer} PET/CT analysis: {subject}".strip()


def measures(lesion: Lesion) -> list[tuple[str, str]]:
    """Return the name and the value of each measure of a lesion."""
    peak = "-" if lesion.suv_peak is None else f"{lesion.suv_peak:.2f} g/ml"
    side = f"{lesion.laterality}, " if lesion.laterality else ""
    axial = f"(axial {lesion.longest_axial_diameter_mm:.1f} mm)"
    return [
        ("SUVmax", f"{lesion.suv_max:.2f} g/ml"),
        ("SUVmean", f"{lesion.suv_mean:.2f} g/ml"),
        ("SUVpeak", peak),
        ("Metabolic volume", f"{lesion.mtv_ml:.2f} ml"),
        ("TLG", f"{lesion.tlg_g:.2f} g"),
        ("Volume", f"{lesion.volume_ml:.2f} ml"),
        ("Diameter", f"{lesion.longest_diameter_mm:.1f} mm {axial}"),
        ("Region", f"{side}{lesion.source}"),
    ]


def judgement(findings: Findings) -> list[Line]:
    """Return the risk and every prediction with its cut-off, or that there is none."""
    lines: list[Line] = []
    if findings.risk is not None:
        ink = WARN if findings.risk == "high" else INK
        lines.append((f"Risk of occult nodal metastasis: {findings.risk.upper()}", ink))
    elif findings.lesions:
        lines.append(("No prediction", INK))
    for one in findings.predictions:
        lines += _prediction(one)
    return lines


def reservations(petct: PetCt, findings: Findings) -> list[Line]:
    """Return why the model does not apply, further lesions and warnings: all are in the report."""
    lines: list[Line] = []
    if not findings.applicable:
        lines.append(("The model does not apply to this study:", WARN))
        lines += [(f"{one.code}: {one.meaning}", WARN) for one in findings.inapplicable]
    further = len(findings.lesions) - 1
    if further > 0:
        lines.append((f"{further} further lesion{'s' * (further > 1)}: see the report", FURTHER))
    told = dict.fromkeys((*petct.warnings, *findings.warnings))
    warnings = [one for one in told if one not in findings.inapplicable]
    return lines + [(f"{one.code}: {one.meaning}", MUTED) for one in warnings]


def statement(findings: Findings) -> list[Line]:
    """Return what the model was trained on, and which model it is."""
    bundle = findings.bundle
    said = [
        (bundle.training_data, WARN),
        (f"{bundle.name} {bundle.version}, {bundle.digest[:19]}", MUTED),
    ]
    return [line for line in said if line[0]]


def _prediction(one: Prediction) -> list[Line]:
    name = task_label(one.task)
    probability, cutoff = in_percent(one.probability, one.cutoff)
    level, ink = ("HIGH", WARN) if one.high else ("low", INK)
    return [
        (f"{name[:1].upper()}{name[1:]}: {probability} % {level}", ink),
        (f"(cut-off {cutoff} %)", MUTED),
    ]
