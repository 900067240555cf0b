"""Whether objects of a study are of one patient, by Patient ID and its issuer."""

from collections.abc import Iterable
from dataclasses import dataclass

from node.dicom.attributes import Attributes, shared, text


@dataclass(frozen=True, kw_only=True, slots=True)
class Identity:
    """What a set of objects says of its patient; ``""`` stands for an object that says nothing."""

    patient_ids: frozenset[str]
    issuers: frozenset[str]

    @classmethod
    def of(cls, headers: Iterable[Attributes]) -> "Identity":
        """Collect Patient ID and Issuer of Patient ID, without the spaces around them."""
        stated = {shared(header, _stated) for header in headers}
        return cls(
            patient_ids=frozenset(patient_id for patient_id, _ in stated),
            issuers=frozenset(issuer for _, issuer in stated),
        )

    @property
    def contradicts_itself(self) -> bool:
        """Whether two patients are named; an absent value contradicts nothing."""
        return len(self.patient_ids - {""}) > 1 or len(self.issuers - {""}) > 1

    @property
    def is_partial(self) -> bool:
        """Whether some objects name a patient and others do not."""
        return "" in self.patient_ids and len(self.patient_ids) > 1

    def joined(self, other: "Identity") -> "Identity":
        """Return what both sets say together."""
        return Identity(
            patient_ids=self.patient_ids | other.patient_ids, issuers=self.issuers | other.issuers
        )


def _stated(header: Attributes) -> tuple[str, str]:
    return text(header, "PatientID"), text(header, "IssuerOfPatientID")
