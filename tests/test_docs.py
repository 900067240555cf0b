"""Documents cannot rot: what they name of tests, codes, keys, contexts and links is there."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest
import yaml
from pydantic import BaseModel
from pydicom.sr.coding import Code

from node.completeness import WhyReady
from node.config import Settings, settings_from
from node.dicom import codes, reasons
from node.net import syntaxes

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("changes/*.md")])
TEST = re.compile(r"(tests/[\w/]+\.py)::(\w+)")
LINK = re.compile(r"\[[^\]]+\]\(([^)\s]+)\)")
CODE = re.compile(r"[A-Z][A-Z0-9_]{2,15}")

documents = pytest.mark.parametrize("document", DOCUMENTS, ids=lambda d: str(d.relative_to(ROOT)))


def rows(document: str, heading: str) -> list[list[str]]:
    """The cells of the tables below a heading, up to the next heading; header rows left out."""
    text = (ROOT / "docs" / document).read_text(encoding="utf-8")
    section = re.split(r"^#+ ", text.split(f"# {heading}\n", 1)[1], maxsplit=1, flags=re.MULTILINE)
    lines = [line for line in section[0].splitlines() if line.startswith("|")]
    separators = {n for n, line in enumerate(lines) if set(line) <= set("|- ")}
    return [
        [cell.strip() for cell in line.strip("|").split(" | ")]
        for n, line in enumerate(lines)
        if n not in separators and n + 1 not in separators
    ]


@cache
def functions_of(path: str) -> frozenset[str]:
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    return frozenset(n.name for n in ast.walk(tree) if isinstance(n, ast.FunctionDef))


def constants(path: str) -> set[str]:
    """The texts in a module that look like codes."""
    nodes = ast.walk(ast.parse((ROOT / path).read_text(encoding="utf-8")))
    texts = {n.value for n in nodes if isinstance(n, ast.Constant) and isinstance(n.value, str)}
    return {text for text in texts if CODE.fullmatch(text)}


@documents
def test_every_test_that_is_named_exists(document):
    named = TEST.findall(document.read_text(encoding="utf-8"))

    missing = [
        f"{path}::{name}"
        for path, name in named
        if not (ROOT / path).is_file() or name not in functions_of(path)
    ]

    assert missing == []


def test_every_requirement_names_a_test():
    text = (ROOT / "docs" / "requirements.md").read_text(encoding="utf-8")
    requirements = [line for line in text.splitlines() if line.startswith("* R")]

    assert [line.split()[1] for line in requirements] == [
        f"R{number}" for number in range(1, len(requirements) + 1)
    ]
    assert all(" SHALL " in line and TEST.search(line) for line in requirements)


def test_every_capability_names_a_test_or_is_not_done():
    text = (ROOT / "docs" / "capabilities.md").read_text(encoding="utf-8")
    headings = re.findall(r"^#+ (.+)$", text, flags=re.MULTILINE)
    claims = [
        row
        for heading in headings
        if heading != "2 AIR Evidence Creator capability document"
        for row in rows("capabilities.md", heading)
    ]

    assert len(claims) > 30
    assert [row for row in claims if row[-1] != "not done" and not TEST.search(row[-1])] == []


@pytest.mark.parametrize(
    ("heading", "mapping"),
    [
        ("Why a study is refused", reasons.REFUSALS),
        ("What is noted beside a result", reasons.WARNINGS),
    ],
)
def test_the_tables_of_codes_are_the_mapping_of_the_code(heading, mapping):
    table = rows("operations.md", heading)

    assert {code: meaning for code, meaning, _ in table} == dict(mapping)
    assert all(what_to_do for _, _, what_to_do in table)


def test_every_reason_why_the_model_does_not_apply_is_listed():
    listed = {row[0] for row in rows("operations.md", "Why the model does not apply")}

    in_code = constants("inference/applicability.py") | constants("inference/analyze.py")

    assert listed == in_code - {"PET"}


def test_every_reason_why_a_study_waits_is_listed():
    listed = {row[0] for row in rows("operations.md", "When a study is taken up")}

    in_code = constants("node/completeness.py") | constants("node/assembly.py")

    assert {one for one in listed if CODE.fullmatch(one)} == in_code - set(WhyReady)


def test_every_private_code_is_listed_with_its_meaning():
    known = [one for one in vars(codes).values() if isinstance(one, Code)]
    known += [*codes.REGION_METHODS.values(), *codes.DECAY_RULES.values()]
    for task in ("occult_n1", "occult_n2"):
        known += [codes.probability(task), codes.cutoff(task), codes.category(task)]

    listed = {tuple(row) for row in rows("conformance.md", "9.6 Private codes")}

    private = {(c.value, c.meaning) for c in known if c.scheme_designator == codes.PRIVATE_SCHEME}
    assert listed == private


def test_the_presentation_contexts_are_those_that_are_accepted_in_their_order():
    uids = [row[1] for row in rows("conformance.md", "4.2.1 Presentation contexts")]

    assert uids == [str(uid) for uid in (*syntaxes.STORED, *syntaxes.TRANSFER_SYNTAXES)]


@documents
def test_every_key_that_is_named_is_a_setting(document):
    text = document.read_text(encoding="utf-8")
    sections = "|".join(Settings.model_fields)
    named = re.findall(rf"`((?:{sections})\.[a-z_.]+)`", text)

    assert [key for key in named if not is_setting(key)] == []


def is_setting(key: str) -> bool:
    section, _, name = key.partition(".")
    kind = Settings.model_fields[section].annotation
    return isinstance(kind, type) and issubclass(kind, BaseModel) and name in kind.model_fields


def test_the_configuration_that_is_shown_can_be_used():
    text = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    shown = re.findall(r"```yaml\n(.*?)```", text, flags=re.DOTALL)

    titles = [settings_from(yaml.safe_load(one)).destinations["pacs"].ae_title for one in shown]

    assert titles == ["PACS"] * len(shown) != []


def test_the_routing_rule_that_is_shown_is_the_one_that_was_tried():
    tried = (ROOT / "tests" / "end_to_end" / "orthanc.py").read_text(encoding="utf-8")
    text = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    (shown,) = re.findall(r"```lua\n(.*?)```", text, flags=re.DOTALL)

    assert shown in tried


@documents
def test_every_link_leads_somewhere(document):
    text = document.read_text(encoding="utf-8")
    dead = []
    for link in LINK.findall(text):
        path, _, anchor = link.partition("#")
        if "://" in link:
            continue
        target = (document.parent / path).resolve() if path else document
        if not target.exists() or (anchor and anchor not in anchors(target)):
            dead.append(link)

    assert dead == []


def anchors(document: Path) -> set[str]:
    """The anchors that hosts of repositories give to headings."""
    headings = re.findall(r"^#+ (.+)$", document.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", one.lower()).replace(" ", "-") for one in headings}


def test_the_changelog_holds_every_fragment_under_its_kind():
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    unreleased = re.split(r"^## .+$", text, flags=re.MULTILINE)[1]
    kinds = re.split(r"^### (\w+)$", unreleased, flags=re.MULTILINE)[1:]
    entries = {
        kind.lower(): [" ".join(one.split()) for one in listed.split("\n* ") if one.strip()]
        for kind, listed in zip(kinds[::2], kinds[1::2], strict=True)
    }

    fragments: dict[str, list[str]] = {}
    for path in sorted(
        (ROOT / "changes").glob("*.md"), key=lambda one: int(one.name.split(".")[0])
    ):
        issue, kind, _ = path.name.split(".")
        lines = path.read_text(encoding="utf-8").splitlines()
        fragments.setdefault(kind, []).extend(f"{line} ({issue})" for line in lines)
    assert list(entries) == ["clinical", "added", "changed", "fixed"]
    assert entries == fragments


def test_decisions_are_numbered_without_a_gap():
    numbers = [int(one.name[:4]) for one in sorted((ROOT / "docs/decisions").glob("*.md"))]

    assert numbers == list(range(1, len(numbers) + 1))
