"""Whether each prediction stands whole in a group of its own, and fits what they all come to."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from pydicom.sr.codedict import codes

from node.dicom import codes as ours
from node.dicom.lint.faults import Found, Rule
from node.dicom.lint.numbers import rounding
from node.dicom.lint.report import GROUP
from node.dicom.lint.tree import Concept, Node, key

_FORMS: Final = {"PROB": "NUM", "CUT": "NUM", "CAT": "CODE"}
_LEVELS: Final = {key(ours.HIGH_RISK): True, key(ours.LOW_RISK): False}
_NODES: Final = {
    ours.category(task).value.partition("_")[2]: {key(code) for code in ours.nodes(task)}
    for task in ("occult_n1", "occult_n2")
}
_RISK: Final = key(ours.NODAL_RISK)
_APPLICABILITY: Final = key(ours.APPLICABILITY)
_ALGORITHM: Final = key(codes.DCM.AlgorithmName)
_SEGMENT: Final = key(codes.DCM.ReferencedSegment)


@dataclass(frozen=True)
class _Predicting:
    """A measurement group that tells something of a prediction."""

    group: Node

    @cached_property
    def told(self) -> dict[str, list[Node]]:
        """Its probabilities, cut-offs and categories."""
        found: dict[str, list[Node]] = {form: [] for form in _FORMS}
        for node in self.group.children:
            form, _ = _part(node)
            if form:
                found[form].append(node)
        return found

    @property
    def tasks(self) -> set[str]:
        """What it predicts: one task, if nothing is wrong."""
        return {_part(node)[1] for nodes in self.told.values() for node in nodes}

    @property
    def is_high(self) -> bool | None:
        """What its category says, or None where it says neither high nor low."""
        return _LEVELS.get(self.told["CAT"][0].code) if self.told["CAT"] else None

    def values(self, name: Concept) -> list[Concept]:
        """Return the codes that it has for a name."""
        return [node.code for node in self.group.named(name)]


def wrong_predictions(root: Node) -> Iterator[Found]:
    """Yield what is wrong with the predictions of a report on an analysed study."""
    if key(ours.ANALYZED) not in {node.code for node in root.below(key(ours.OUTCOME))}:
        return
    groups = root.below(GROUP)
    predicting = [one for one in map(_Predicting, groups) if any(one.told.values())]
    inside = sum(len(nodes) for one in predicting for nodes in one.told.values())
    if inside != sum(1 for node in root if _part(node)[0]):
        yield Rule.TEMPLATE, "a prediction stands outside of a measurement group"
    counted = Counter(task for one in predicting for task in one.tasks)
    if any(count > 1 for count in counted.values()):
        yield Rule.TEMPLATE, "a task is predicted in two groups"
    for one in predicting:
        yield from _incomplete(one)
        yield from _contradicting(one, root)
    yield from _wrong_risk(root, predicting)
    yield from _wrong_order(groups, predicting)


def _incomplete(one: _Predicting) -> Iterator[Found]:
    """Yield what a group of a prediction lacks, or holds of something else."""
    if len(one.tasks) > 1 or any(len(nodes) != 1 for nodes in one.told.values()):
        yield Rule.NUMBER, "a group does not tell probability, cut-off and category of one task"
    if any(node.value_type == "NUM" and not _part(node)[0] for node in one.group.children):
        yield Rule.TEMPLATE, "a group mixes a prediction with what was measured"
    if one.values(key(ours.PREDICTED)) != [key(ours.METASTASIS)]:
        yield Rule.TEMPLATE, "a group does not tell the condition that it predicts"
    for task in one.tasks & _NODES.keys():
        if set(one.values(key(ours.PREDICTED_SITE))) != _NODES[task]:
            yield Rule.TEMPLATE, f"the nodes that {task} is about are not those of the group"
    if not one.group.named(_ALGORITHM):
        yield Rule.EQUIPMENT, "a prediction does not name what made it"
    if not one.group.named(_SEGMENT):
        yield Rule.TRACKING, "a prediction is about no segment"


def _contradicting(one: _Predicting, root: Node) -> Iterator[Found]:
    """Yield where a category is not what the numbers come to, or the document says otherwise."""
    if all(one.told.values()) and one.is_high is not None:
        probability, cutoff = one.told["PROB"][0], one.told["CUT"][0]
        above = (probability.number or 0) - (cutoff.number or 0)
        unclear = abs(above) <= rounding(probability) + rounding(cutoff)
        if not unclear and one.is_high != (above > 0):
            yield Rule.NUMBER, "the category of a prediction contradicts its probability"
    elif one.told["CAT"]:
        yield Rule.NUMBER, "a prediction is neither high nor low"
    outside = [node.code for child in root.children for node in child.named(_APPLICABILITY)]
    if one.values(_APPLICABILITY) != outside:
        yield Rule.TEMPLATE, "group and report differ on whether the model applies"


def _wrong_risk(root: Node, predicting: Sequence[_Predicting]) -> Iterator[Found]:
    """Yield where the risk as a whole is not high exactly if one of the predictions is."""
    fitting = ours.HIGH_RISK if any(one.is_high for one in predicting) else ours.LOW_RISK
    expected = fitting if predicting else ours.NOT_PREDICTED
    if [node.code for node in root.below(_RISK)] != [key(expected)]:
        yield Rule.NUMBER, "the risk of all predictions is not what they come to"


def _wrong_order(groups: Sequence[Node], predicting: Sequence[_Predicting]) -> Iterator[Found]:
    """Yield predictions that a viewer, which lists five numbers of a lesion, would leave out."""
    first = [node.dataset for node in groups[: len(predicting)]]
    if any(one.group.dataset not in first for one in predicting):
        yield Rule.VIEWER, "predictions come after what was measured, where no viewer lists them"


def _part(node: Node) -> tuple[str, str]:
    """Return which part of a prediction a node is, and of which task; empty if it is none."""
    form, _, task = node.name[0].partition("_")
    if node.name[1] != ours.PRIVATE_SCHEME or _FORMS.get(form) != node.value_type:
        return "", ""
    # A code value has 16 characters, so that the longest prefix leaves 11 to the task.
    return form, task[:11]
