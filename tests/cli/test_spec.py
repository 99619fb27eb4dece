from pathlib import Path

import pytest

from tests.cli.shell import Shell

SPEC = """\
version: v1
agent:
  name: helper
  model: {provider: dummy, name: dummy}
  tools:
    include: [TOOL]
  policies:
    tool: {network: false, filesystem: false, shell: false}
workflow:
  type: sequential
  name: two-steps
  steps:
    - {id: think, kind: agent, ref: helper}
    - {id: check, kind: human, ref: boss}
components:
  humans:
    boss: {description: Good enough?}
"""


@pytest.fixture
def good(kneo: Shell) -> Path:
    return kneo.write("good.yaml", SPEC.replace("TOOL", "web_search"))


@pytest.fixture
def bad(kneo: Shell) -> Path:
    return kneo.write("bad.yaml", SPEC.replace("TOOL", "web_serch"))


@pytest.mark.usefixtures("good")
def test_a_good_spec_is_valid(kneo: Shell) -> None:
    assert kneo("spec", "validate", "good.yaml", "--json").json == {"valid": True, "diagnostics": []}
    told = kneo("spec", "validate", "good.yaml")
    assert (told.exit_code, told.stdout, told.stderr) == (0, "", "✓ good.yaml is valid.\n")


@pytest.mark.usefixtures("bad")
def test_a_fault_is_told_as_editors_read_it(kneo: Shell) -> None:
    told = kneo("spec", "validate", "bad.yaml")
    assert told.exit_code == 1
    assert told.stdout.startswith("bad.yaml:6:")
    assert ": error E_UNKNOWN_TOOL at agent.tools" in told.stdout
    assert "web_search" in told.stdout
    assert told.stderr == "✗ 1 error.\n"
    shown = kneo("spec", "validate", "bad.yaml", "--json")
    assert (shown.exit_code, shown.json["valid"]) == (1, False)
    (found,) = shown.json["diagnostics"]
    assert (found["code"], found["severity"], found["line"]) == ("E_UNKNOWN_TOOL", "error", 6)


@pytest.mark.usefixtures("bad")
@pytest.mark.parametrize("words", [["spec", "compile", "bad.yaml"], ["run", "bad.yaml", "--input", "x"]])
def test_a_spec_with_faults_is_not_used(kneo: Shell, words: list[str]) -> None:
    told = kneo(*words)
    assert (told.exit_code, told.stdout) == (1, "")
    assert "bad.yaml:6:" in told.stderr
    assert "✗ The spec cannot be used: 1 error.\n" in told.stderr
    shown = kneo(*words, "--json")
    assert (shown.exit_code, shown.stderr) == (1, "")
    error = shown.json["error"]
    assert error["code"] == "spec_invalid"
    assert [found["code"] for found in error["diagnostics"]] == ["E_UNKNOWN_TOOL"]


@pytest.mark.usefixtures("good", "bad")
def test_linting_counts_what_it_finds(kneo: Shell) -> None:
    assert kneo("spec", "lint", "good.yaml", "--json").json == {
        "clean": True,
        "warning_count": 0,
        "error_count": 0,
        "diagnostics": [],
    }
    found = kneo("spec", "lint", "bad.yaml", "--json")
    assert (found.exit_code, found.json["clean"], found.json["error_count"]) == (1, False, 1)


@pytest.mark.usefixtures("good")
def test_a_compiled_spec_is_summed_up(kneo: Shell) -> None:
    answer = kneo("spec", "compile", "good.yaml", "--json").json
    assert answer["ok"] is True
    assert answer["summary"]["has_root_workflow"] is True
    assert len(answer["summary"]["plan_hash"]) == 64
    told = kneo("spec", "compile", "good.yaml")
    assert "model     dummy/dummy\n" in told.stdout
    assert "two-steps (sequential, 2 steps)" in told.stdout
    assert told.stderr == "✓ good.yaml compiles.\n"


@pytest.mark.usefixtures("good")
def test_the_steps_of_a_spec_are_explained_and_drawn(kneo: Shell) -> None:
    told = kneo("spec", "explain", "good.yaml").stdout
    assert "1. think (agent helper)" in told
    assert "2. check (human boss)" in told
    drawn = kneo("spec", "graph", "good.yaml").stdout
    assert drawn == "two-steps (sequential)\n├─ think: agent helper\n└─ check: human boss\n"
    assert kneo("spec", "graph", "good.yaml", "--format", "mermaid").stdout.startswith("flowchart")
    assert kneo("spec", "graph", "good.yaml", "--format", "dot").stdout.startswith("digraph")
    assert [node["id"] for node in kneo("spec", "graph", "good.yaml", "--json").json["nodes"]] == ["think", "check"]


@pytest.mark.usefixtures("good")
def test_the_policies_of_a_spec_are_reported(kneo: Shell) -> None:
    report = kneo("spec", "policy-report", "good.yaml", "--json").json
    assert (report["valid"], report["summary"]["human_review_step_count"]) == (True, 1)
    assert "human review step count" in kneo("spec", "policy-report", "good.yaml").stdout


@pytest.mark.usefixtures("good")
def test_overlays_are_laid_over_a_spec_and_shown_as_one_document(kneo: Shell) -> None:
    kneo.write("more.yaml", "agent: {description: From above}\n")
    merged = kneo("spec", "resolve", "good.yaml", "--overlay", "more.yaml", "--json").json["spec"]
    assert merged["agent"]["description"] == "From above"
    assert kneo("spec", "resolve", "good.yaml", "--overlay", "more.yaml", "-o", "one.yaml").exit_code == 0
    assert kneo("spec", "validate", "one.yaml").exit_code == 0


def test_an_older_spec_is_migrated(kneo: Shell) -> None:
    kneo.write("old.yaml", "root_agent: {name: a, model: {provider: dummy, name: dummy}}\n")
    checked = kneo("spec", "migrate", "old.yaml", "--check", "--json")
    assert checked.exit_code == 1
    assert (checked.json["source_version"], checked.json["changed"]) == ("v0", True)
    assert "agent:" in kneo("spec", "migrate", "old.yaml").stdout
    assert kneo("spec", "migrate", "old.yaml", "-o", "new.yaml").exit_code == 0
    assert kneo("spec", "migrate", "new.yaml", "--check").exit_code == 0
    assert kneo("spec", "validate", "new.yaml").exit_code == 0


def test_editors_get_a_schema(kneo: Shell) -> None:
    document = kneo("spec", "schema").json
    assert "workflow" in document["properties"]


def test_a_missing_spec_is_named_with_the_nearest_one(kneo: Shell) -> None:
    kneo.write("specs/research.yaml", "version: v1\n")
    told = kneo("spec", "validate", "specs/reserch.yaml")
    assert (told.exit_code, told.stdout) == (1, "")
    assert told.stderr == "✗ There is no file specs/reserch.yaml. Did you mean specs/research.yaml?\n"
    error = kneo("spec", "validate", "specs", "--json").json["error"]
    assert (error["code"], error["path"]) == ("file_unusable", "specs")
    assert "folder" in error["message"]


def test_a_command_without_a_spec_says_where_one_could_come_from(kneo: Shell) -> None:
    assert "default_spec" in kneo("spec", "validate").stderr


@pytest.mark.parametrize("verb", ["validate", "compile"])
def test_broken_yaml_is_told_with_line_and_column(kneo: Shell, verb: str) -> None:
    kneo.write("broken.yaml", "version: v1\nagent: [a\nb: c\n")
    told = kneo("spec", verb, "broken.yaml")
    assert told.exit_code == 1
    assert "broken.yaml:" in told.stderr
    error = kneo("spec", verb, "broken.yaml", "--json").json["error"]
    assert (error["code"], error["source"]) == ("spec_unreadable", "broken.yaml")
    assert error["line"] >= 2
    assert error["column"] >= 1


def test_a_sealed_spec_shows_every_change(kneo: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    kneo.write("good.yaml", SPEC.replace("TOOL", "web_search"))
    words = ["spec", "bundle", "sign", "good.yaml", "-o", "good.bundle.json", "--approved-by", "Ada", "--json"]
    monkeypatch.delenv("KNEO_SERV_SPEC_SIGNING_KEY", raising=False)
    assert "KNEO_SERV_SPEC_SIGNING_KEY" in kneo(*words).json["error"]["message"]
    monkeypatch.setenv("KNEO_SERV_SPEC_SIGNING_KEY", "a key")
    assert kneo(*words).json["signature"]["algorithm"] == "HMAC-SHA256"
    bundle = kneo.folder / "good.bundle.json"
    assert kneo("spec", "bundle", "verify", "good.bundle.json").exit_code == 0
    bundle.write_text(bundle.read_text().replace("Good enough?", "Fine?"))
    broken = kneo("spec", "bundle", "verify", "good.bundle.json", "--json")
    assert (broken.exit_code, broken.json["valid"], broken.json["digest_valid"]) == (1, False, False)
    assert "✗ The digest does not match" in kneo("spec", "bundle", "verify", "good.bundle.json").stderr
