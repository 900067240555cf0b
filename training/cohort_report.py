"""The report of a cohort: who is in it, who is not and why, and how its groups compare."""

from collections.abc import Mapping

from training.assembling import STEPS
from training.baseline import baseline, gaps, markdown
from training.consort import centre_table, flow_table
from training.labels import ClinicalN, NodalClass, StageN3
from training.partition import Part
from training.patients import Member, PatientCohort

_CLINICAL: Mapping[ClinicalN, str] = {
    ClinicalN.REQUIRED: "Everybody is cN0 by the table, so a positive pN is an occult metastasis.",
    ClinicalN.ASSUMED: "Patients without a clinical N stage were kept: the labels are pN, and "
    "whether a metastasis was occult is not known of all.",
}
_N3: Mapping[StageN3, str] = {
    StageN3.LEAVE_OUT: "pN3 is left out.",
    StageN3.AS_N2: "pN3 counts as N2.",
}

_NOTE = """\
p values compare the columns, are not corrected for how many there are, and gaps take no part in
them.
"""


def report(cohort: PatientCohort) -> str:
    """Return the report as Markdown; the same cohort gives the same text."""
    classes = {
        nodal.value: [one for one in cohort.members if one.nodal is nodal] for nodal in NodalClass
    }
    parts = {part.value: cohort.of(part) for part in Part if cohort.of(part)}
    sections = (
        f"# Cohort {cohort.name}\n",
        f"Cohort {cohort.digest}\nSplit {cohort.split_digest}\n",
        "## Flow of patients\n",
        flow_table(cohort, STEPS),
        "## Labels\n",
        f"{rules_told(cohort)}\n",
        centre_table(cohort),
        f"## Follow-up\n\n{followup_told(cohort)}\n",
        "## Baseline by nodal class\n",
        markdown(baseline(classes), classes),
        "## Baseline by part\n",
        markdown(baseline(parts), parts),
        _NOTE,
        "## Missing data\n",
        markdown(gaps(parts), parts),
    )
    return "\n".join(sections)


def rules_told(cohort: PatientCohort) -> str:
    """Return what the labels mean in this cohort."""
    return (
        "Occult N1 is pN1, occult N2 is pN2, each against all others. "
        f"{_CLINICAL[cohort.rules.clinical_n]} {_N3[cohort.rules.n3]}"
    )


def followup_told(cohort: PatientCohort) -> str:
    """Return of how many patients it is known what became of them."""
    followed: list[Member] = [one for one in cohort.members if one.followup_days is not None]
    events = sum(one.event is True for one in followed)
    return f"Known of {len(followed)} of {len(cohort.members)} patients, with {events} events."
