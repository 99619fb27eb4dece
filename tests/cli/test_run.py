import re
import stat
from pathlib import Path
from typing import Any

import pytest

from tests.cli.shell import Answer, Shell

FUNCTIONS = """\
def draft(text):
    print("drafting")
    return f"[draft] of {text}"


def publish(text):
    return f"published {text}"


def burst(text):
    raise OSError("disk full")


def traced(text):
    from kneo_serv.tools import current_call
    return f"{text} in {' '.join(current_call().trace.values()) or 'none'}"


def mend(text):
    from pathlib import Path
    if not Path("mended").exists():
        raise OSError("disk full")
    return f"mended {text}"
"""
ASKING = """\
version: v1
agent: {name: echo, model: {provider: dummy, name: dummy}}
workflow:
  type: sequential
  name: asking
  steps:
    - {id: draft, kind: function, ref: draft}
    - {id: approve, kind: human, ref: boss}
    - {id: publish, kind: function, ref: publish}
components:
  functions:
    draft: {implementation: papers.draft, effect: idempotent}
    publish: {implementation: papers.publish, effect: idempotent}
  humans:
    boss: {description: "Good [enough]?", assignee: boss@example.com}
"""
PLAIN = """\
version: v1
agent: {name: echo, model: {provider: dummy, name: dummy}}
workflow:
  type: sequential
  name: plain
  steps:
    - {id: first, kind: function, ref: STEP}
components:
  functions:
    STEP: {implementation: papers.STEP, effect: idempotent}
"""
RUN_ID = re.compile(r"run_\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d_[\w-]{22}")


@pytest.fixture
def papers(kneo: Shell) -> Shell:
    # Each test has a module of its own name, since an imported one stays in this process.
    kneo.write(f"{module(kneo)}.py", FUNCTIONS)
    kneo.write("asking.yaml", ASKING.replace("papers", module(kneo)))
    for step in ("draft", "burst", "mend", "traced"):
        kneo.write(f"{step}.yaml", PLAIN.replace("papers", module(kneo)).replace("STEP", step))
    return kneo


def module(kneo: Shell) -> str:
    return "papers_" + re.sub(r"\W", "_", kneo.folder.name)


def paused(kneo: Shell) -> dict[str, Any]:
    answer = kneo("run", "asking.yaml", "--input", "it", "--json")
    assert (answer.exit_code, answer.stderr) == (0, "drafting\n")
    found = answer.json
    assert isinstance(found, dict)
    return found


def resume(kneo: Shell, run: dict[str, Any], *decision: str) -> Answer:
    request_id = run["metadata"]["pending_human_request"]["request_id"]
    return kneo("human", "resume", run["continuation_id"], "--request-id", request_id, *decision)


@pytest.mark.parametrize("words", [["draft.yaml", "--input", "it"], ["--input", "it", "draft.yaml"]])
def test_options_stand_before_or_after_the_spec(papers: Shell, words: list[str]) -> None:
    answer = papers("run", *words)
    assert (answer.exit_code, answer.stdout) == (0, "[draft] of it\n")
    assert re.search(rf"✓ Run {RUN_ID.pattern} completed\.\n", answer.stderr)


def test_an_input_comes_from_a_file_or_from_stdin(papers: Shell) -> None:
    papers.write("input.txt", "Grüße")
    assert papers("run", "draft.yaml", "--input-file", "input.txt", "--quiet").stdout == "[draft] of Grüße\n"
    assert papers("run", "draft.yaml", "--input-file", "-", stdin="東京").stdout == "[draft] of 東京\n"


def test_the_root_agent_can_be_run_alone(papers: Shell) -> None:
    answer = papers("run", "asking.yaml", "--target", "agent", "--input", "hello", "--json").json
    assert (answer["status"], answer["output_text"]) == ("completed", "Final answer: hello")


@pytest.mark.parametrize("valid", [True, False])
def test_a_run_belongs_to_the_trace_of_the_environment(
    papers: Shell, monkeypatch: pytest.MonkeyPatch, valid: bool
) -> None:
    parent = f"00-{'a' * 32}-{'b' * 16}-01"
    monkeypatch.setenv("TRACEPARENT", parent if valid else "nonsense")
    monkeypatch.setenv("TRACESTATE", "vendor=1")
    given = f"{parent} vendor=1" if valid else "none"
    assert papers("run", "traced.yaml", "--input", "it", "--quiet").stdout == f"it in {given}\n"


def test_the_json_of_a_run_that_waits(papers: Shell) -> None:
    run = paused(papers)
    assert RUN_ID.fullmatch(run["run_id"])
    assert (run["status"], run["output_text"], run["human_intervention_required"]) == ("paused", None, True)
    assert run["continuation_id"].startswith("cont_")
    pending = run["metadata"]["pending_human_request"]
    assert pending["prompt"] == "Good [enough]?"
    assert run["metadata"]["request"]["id"] == pending["request_id"]
    assert "error" not in run


def test_the_text_of_a_run_that_waits_holds_commands_that_work(papers: Shell) -> None:
    told = papers("run", "asking.yaml", "--input", "it")
    assert told.exit_code == 0
    assert "Good [enough]?" in told.stdout
    assert "\n[draft] of it\n" in told.stdout
    assert "drafting\n✓ draft\n" in told.stderr
    command = next(line.split() for line in told.stdout.splitlines() if line.endswith("--approve"))
    assert command[0] == "kneo"
    done = papers(*command[1:])
    assert (done.exit_code, done.stdout) == (0, "published [draft] of it\n")


@pytest.mark.parametrize(
    ("decision", "output"),
    [
        (["--approve"], "published [draft] of it"),
        (["--edit", "[b]better[/b]"], "published [b]better[/b]"),
        (["--reject", "--comment", "too long"], "published Rejected by human reviewer: too long"),
    ],
)
def test_an_answer_takes_the_run_on(papers: Shell, decision: list[str], output: str) -> None:
    run = paused(papers)
    answer = resume(papers, run, *decision, "--json")
    assert (answer.exit_code, answer.stderr) == (0, "")
    assert answer.json["run_id"] == run["run_id"]
    assert (answer.json["status"], answer.json["output_text"]) == ("completed", output)


def test_a_question_is_answered_once_and_under_its_own_name(papers: Shell) -> None:
    run = paused(papers)
    wrong = papers("human", "resume", run["continuation_id"], "--request-id", "req_other", "--approve", "--json")
    assert (wrong.exit_code, wrong.json["error"]["code"]) == (1, "request_id_mismatch")
    refused = resume(papers, run, "--select", "blue", "--json")
    assert (refused.exit_code, refused.json["error"]["code"]) == (1, "decision_not_allowed")
    assert resume(papers, run, "--approve").exit_code == 0
    late = resume(papers, run, "--approve")
    assert (late.exit_code, late.stdout) == (1, "")
    assert f"✗ Unknown human task: {run['continuation_id']}\n" in late.stderr


def test_open_questions_are_listed_and_shown_with_the_real_text(papers: Shell) -> None:
    run = paused(papers)
    (task,) = papers("human", "list", "--json").json["tasks"]
    assert task["id"] == run["continuation_id"]
    told = papers("human", "list")
    assert run["continuation_id"] in told.stdout
    assert run["metadata"]["pending_human_request"]["request_id"] in told.stdout
    assert told.stderr == "✓ 1 open question.\n"
    shown = papers("human", "get", run["continuation_id"], "--json").json
    assert shown["continuation_id"] == run["continuation_id"]
    assert shown["request"]["context"]["input_text"] == "[draft] of it"
    assert "--edit 'NEW TEXT'" in papers("human", "get", run["continuation_id"]).stdout


def test_a_failed_run_has_its_own_exit_code_and_can_be_continued(papers: Shell) -> None:
    failed = papers("run", "mend.yaml", "--input", "it", "--json")
    assert failed.exit_code == 3
    assert (failed.json["status"], failed.json["output_text"]) == ("failed", None)
    assert "disk full" in failed.json["error"]["message"]
    run_id = failed.json["run_id"]
    told = papers("runs", "continue", run_id)
    assert (told.exit_code, told.stdout) == (3, "")
    assert f"✗ Run {run_id} failed: " in told.stderr
    papers.write("mended", "")
    done = papers("runs", "continue", run_id, "--json")
    assert (done.exit_code, done.json["output_text"]) == (0, "mended it")
    over = papers("runs", "continue", run_id, "--json")
    assert (over.exit_code, over.json["error"]["code"]) == (1, "run_state_conflict")


def test_a_run_can_be_looked_at_from_all_sides(papers: Shell) -> None:
    run_id = papers("run", "draft.yaml", "--input", "it", "--json").json["run_id"]
    view = papers("runs", "get", run_id, "--json").json
    assert (view["run_id"], view["status"], view["visited_steps"]) == (run_id, "completed", ["first"])
    assert "[draft] of it" in papers("runs", "get", run_id).stdout
    (row,) = papers("runs", "list", "--json").json["runs"]
    assert row["run_id"] == run_id
    assert run_id in papers("runs", "list", "--status", "completed", "--workflow", "plain").stdout
    assert papers("runs", "list", "--status", "failed", "--json").json["total"] == 0
    events = papers("runs", "trace", run_id, "--json").json["events"]
    assert (events[0]["type"], events[-1]["type"]) == ("workflow_started", "workflow_completed")
    assert "workflow_completed" in papers("runs", "trace", run_id).stdout
    points = papers("runs", "checkpoints", run_id, "--json").json["checkpoints"]
    assert [point["sequence"] for point in points] == list(range(1, len(points) + 1))
    assert "step_completed" in papers("runs", "checkpoints", run_id).stdout
    assert papers("runs", "replay", run_id, "--json").json["checkpoint_count"] == len(points)
    assert "run_completed" in papers("runs", "replay", run_id).stdout
    diff = papers("runs", "checkpoint-diff", run_id, "--json").json
    assert diff["run_id"] == run_id
    assert diff["change_count"] > 0
    assert papers("runs", "checkpoint-diff", run_id, "--from-sequence", "1", "--to-sequence", "2").exit_code == 0
    unknown = papers("runs", "checkpoint-diff", run_id, "--from-sequence", "99", "--json")
    assert unknown.exit_code == 1


def test_a_waiting_run_is_cancelled_and_asks_nobody_any_more(papers: Shell) -> None:
    run = paused(papers)
    assert papers("runs", "list", "--status", "paused", "--json").json["total"] == 1
    assert papers("runs", "cancel", run["run_id"], "--json").json["status"] == "cancelled"
    again = papers("runs", "cancel", run["run_id"])
    assert (again.exit_code, again.stderr) == (0, f"✓ Run {run['run_id']} is cancelled.\n")
    assert papers("human", "list", "--json").json["tasks"] == []
    assert resume(papers, run, "--approve", "--json").json["error"]["code"] == "not_found"


def test_the_state_is_kept_for_its_owner_only(papers: Shell) -> None:
    papers("run", "draft.yaml", "--input", "it")
    state = papers.folder / ".kneo"
    assert stat.S_IMODE(state.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in files(state)} == {0o600}


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def test_a_bad_setting_is_named_before_anything_is_stored(papers: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KNEO_SERV_WORKER_CONCURRENCY", "many")
    answer = papers("run", "draft.yaml", "--input", "it", "--json")
    assert answer.exit_code == 1
    assert answer.json["error"]["variable"] == "KNEO_SERV_WORKER_CONCURRENCY"
    assert not (papers.folder / ".kneo").exists()


def test_a_run_outlives_the_patience_of_its_caller(papers: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KNEO_SERV_PATIENCE_SECONDS", "0")
    answer = papers("run", "draft.yaml", "--input", "it")
    assert (answer.exit_code, answer.stdout) == (0, "[draft] of it\n")
