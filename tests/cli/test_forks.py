"""Forks, retries, the doctor and the audit at the terminal."""

from pathlib import Path

from tests.cli.shell import Shell

FUNCTIONS = """\
from pathlib import Path


def note(text):
    with open("effects.txt", "a") as effects:
        effects.write(f"{text}\\n")
    return f"{text}!"


def need(text):
    if not Path("mended").exists():
        raise OSError("disk full")
    return f"mended {text}"
"""
SPEC = """\
version: v1
agent: {name: nobody}
workflow:
  type: sequential
  name: noting
  steps:
    - {id: note, kind: function, ref: note}
    - {id: need, kind: function, ref: need}
components:
  functions:
    note: {implementation: forked_functions.note, effect: keyed}
    need: {implementation: forked_functions.need, effect: idempotent}
"""


def _failed_run(kneo: Shell) -> str:
    kneo.write("forked_functions.py", FUNCTIONS)
    kneo.write("noting.yaml", SPEC)
    failed = kneo("run", "noting.yaml", "--input", "tea", "--json")
    assert (failed.exit_code, failed.json["status"]) == (3, "failed")
    return str(failed.json["run_id"])


def test_a_retry_keeps_what_was_finished_and_begins_with_the_step_that_failed(kneo: Shell) -> None:
    run_id = _failed_run(kneo)
    kneo.write("mended", "")
    retried = kneo("runs", "retry", run_id, "--json")
    assert (retried.exit_code, retried.json["output_text"]) == (0, "mended tea!")
    assert retried.json["forked_from"]["run_id"] == run_id
    assert retried.json["run_id"] != run_id
    assert Path("effects.txt").read_text() == "tea\n"


def test_side_effects_are_repeated_with_consent_only(kneo: Shell) -> None:
    run_id = _failed_run(kneo)
    kneo.write("mended", "")
    refused = kneo("runs", "fork", run_id, "--at", "1", "--input", "coffee", "--json")
    assert (refused.exit_code, refused.json["error"]["code"]) == (1, "fork_consent_required")
    assert [effect["step_id"] for effect in refused.json["error"]["repeated_side_effects"]] == ["note"]
    assert Path("effects.txt").read_text() == "tea\n"
    agreed = kneo("runs", "fork", run_id, "--at", "1", "--input", "coffee", "--yes")
    assert (agreed.exit_code, agreed.stdout) == (0, "mended coffee!\n")
    assert f"forked from {run_id} at checkpoint 1" in agreed.stderr
    assert Path("effects.txt").read_text() == "tea\ncoffee\n"


def test_a_preview_of_a_fork_starts_nothing(kneo: Shell) -> None:
    run_id = _failed_run(kneo)
    assert kneo("runs", "fork", run_id, "--at", "1", "--preview").json["at_sequence"] == 1
    assert kneo("runs", "list", "--json").json["total"] == 1


def test_the_doctor_finds_sound_journals_and_names_a_setting_that_cannot_be_used(kneo: Shell) -> None:
    _failed_run(kneo)
    assert kneo("doctor", "--journal", "--json").json == {"sound": True, "findings": []}
    states = {check["check"]: check["state"] for check in kneo("doctor", "--json").json["checks"]}
    assert states == {
        "versions": "ok",
        "settings": "ok",
        "state": "ok",
        "own code": "ok",
        "disk": "ok",
        "providers": "ok",
    }


def test_the_audit_of_a_run_is_listed(kneo: Shell) -> None:
    run_id = _failed_run(kneo)
    listed = kneo("audit", "list", "--run", run_id, "--json").json
    assert [event["event_type"] for event in listed["events"]] == ["run.rested", "run.created"]
    assert "run.created" in kneo("audit", "list", "--type", "run.created").stdout
