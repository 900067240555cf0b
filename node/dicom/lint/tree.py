"""The content tree of a structured report as plain values, read once."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

from pydicom.sr.coding import Code

from node.dicom.lint.items import Item

Concept: TypeAlias = tuple[str, str]
"""Code value and coding scheme designator; two empty texts where there is none."""


@dataclass(frozen=True, slots=True)
class Node:
    """One content item with what is below it."""

    value_type: str
    relationship: str
    name: Concept
    dataset: Item
    children: tuple["Node", ...]

    def __iter__(self) -> Iterator["Node"]:
        """Yield this item and all below it, in the order of the document."""
        yield self
        for child in self.children:
            yield from child

    def named(self, *names: Concept) -> list["Node"]:
        """Return the children that have one of these names."""
        return [child for child in self.children if child.name in names]

    def below(self, *names: Concept) -> list["Node"]:
        """Return all items below this one, at any depth, that have one of these names."""
        return [node for child in self.children for node in child if node.name in names]

    @property
    def text(self) -> str:
        """The value of a TEXT or UIDREF item."""
        return str(self.dataset.get("TextValue") or self.dataset.get("UID") or "")

    @property
    def code(self) -> Concept:
        """The value of a CODE item."""
        return concept(self.dataset, "ConceptCodeSequence")

    @property
    def number(self) -> float | None:
        """The value of a NUM item, or None where it has none."""
        for item in self.dataset.get("MeasuredValueSequence", []):
            if item.get("NumericValue"):
                return float(item["NumericValue"])
        return None

    @property
    def references(self) -> list[Item]:
        """The instances that an IMAGE or COMPOSITE item refers to."""
        return list(self.dataset.get("ReferencedSOPSequence", []))


def key(code: Code) -> Concept:
    """Return what a code is compared by."""
    return code.value, code.scheme_designator


def read(dataset: Item) -> Node:
    """Return a data set's content items as a tree."""
    return Node(
        value_type=str(dataset.get("ValueType", "")),
        relationship=str(dataset.get("RelationshipType", "")),
        name=concept(dataset, "ConceptNameCodeSequence"),
        dataset=dataset,
        children=tuple(read(item) for item in dataset.get("ContentSequence", [])),
    )


def concept(dataset: Item, keyword: str) -> Concept:
    """Return the first code of a sequence."""
    for item in dataset.get(keyword, []):
        return str(item.get("CodeValue", "")), str(item.get("CodingSchemeDesignator", ""))
    return "", ""
