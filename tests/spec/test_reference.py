"""The reference of the spec language says what the code does."""

import re
from pathlib import Path
from typing import Any

import pytest

from kneo_serv.spec.checks.expressions import MAX_LENGTH, NAMES
from kneo_serv.spec.checks.guardrails import ACTIONS, STAGES, TYPES
from kneo_serv.spec.checks.memory import POLICIES
from kneo_serv.spec.environment_policy import EnvironmentPolicy
from kneo_serv.spec.models.spec import KneoSpec
from tests.spec.specs import compiler, data

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "spec.md").read_text(encoding="utf-8")
CODE = re.compile(r"\b[EWI]_[A-Z][A-Z_]*[A-Z]\b")
BLOCKS = [
    block for block in re.findall(r"^```yaml\n(.*?)^```$", TEXT, re.DOTALL | re.MULTILINE) if "version: v1" in block
]


def emitted() -> set[str]:
    files = (ROOT / "src" / "kneo_serv" / "spec").rglob("*.py")
    return {code for file in files for code in CODE.findall(file.read_text(encoding="utf-8"))}


def keys(schema: dict[str, Any]) -> set[str]:
    blocks = [schema, *schema["$defs"].values()]
    return {key for block in blocks for key in block.get("properties", {})}


def words(schema: dict[str, Any]) -> set[str]:
    """Every word that a key may have as its value."""
    found = set(schema.get("enum", ())) | ({schema["const"]} if "const" in schema else set())
    for value in schema.values():
        for child in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
            found |= words(child) if isinstance(child, dict) else set()
        found |= words(value) if isinstance(value, dict) else set()
    return {word for word in found if isinstance(word, str)}


def test_every_code_of_the_rules_is_explained_once_and_no_other() -> None:
    table = re.findall(r"^\| `([EWI]_\w+)` \|", TEXT, re.MULTILINE)
    assert len(table) == len(set(table))
    assert set(table) == emitted()
    assert set(CODE.findall(TEXT)) <= set(table)


def test_every_key_is_named() -> None:
    known = keys(KneoSpec.model_json_schema(by_alias=True)) | set(EnvironmentPolicy.model_fields) - {"enabled"}
    assert sorted(key for key in known if not re.search(rf"`[^`]*\b{re.escape(key)}\b[^`]*`", TEXT)) == []


def test_every_word_that_a_key_takes_is_named() -> None:
    known = words(KneoSpec.model_json_schema(by_alias=True)) | {*ACTIONS, *STAGES, *TYPES, *POLICIES, *NAMES}
    assert sorted(word for word in known if word not in TEXT) == []
    assert f"at most {MAX_LENGTH:,} characters" in TEXT


def test_links_within_the_page_lead_somewhere() -> None:
    heads = {
        re.sub(r"[^\w -]", "", head).replace(" ", "-").lower() for head in re.findall(r"^#+ (.*)$", TEXT, re.MULTILINE)
    }
    assert set(re.findall(r"\]\(#([\w-]+)\)", TEXT)) <= heads
    for path in re.findall(r"\]\((\.\.[^)#]+)\)", TEXT):
        assert (ROOT / "docs" / path).exists()


@pytest.mark.parametrize("text", BLOCKS, ids=[str(number) for number in range(len(BLOCKS))])
def test_a_document_of_the_reference_has_no_findings(text: str) -> None:
    assert [str(item) for item in compiler().validate(data(text)).diagnostics] == []


def test_every_type_of_workflow_has_a_document() -> None:
    for kind in ("sequential", "graph", "concurrent", "handoff", "group_chat"):
        assert any(f"type: {kind}\n" in block for block in BLOCKS)
    for kind in ("parallel", "map"):
        assert any(f"kind: {kind}\n" in block for block in BLOCKS)
