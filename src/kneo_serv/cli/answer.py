"""The answer to `run`, `resume` and `continue`, and how it is shown."""

import shlex
from collections.abc import Mapping
from typing import Any

import typer

from kneo_serv.cli.exit_codes import exit_code_of
from kneo_serv.cli.terminal import bold, fail, show, show_facts, show_json, succeed, warn
from kneo_serv.model.codec import encode
from kneo_serv.model.run import PAUSED, RunResult, RunStatus

_FLAGS = {
    "approved": "--approve",
    "rejected": "--reject",
    "edited": '--edit "NEW TEXT"',
    "selected": '--select "OPTION"',
    "provided": '--provide "TEXT"',
}
_USUAL = {
    "approval": ("approved", "rejected"),
    "review": ("approved", "edited", "rejected"),
    "correction": ("edited", "approved", "rejected"),
    "selection": ("selected",),
    "freeform": ("provided",),
}


def answer_of(result: RunResult) -> dict[str, Any]:
    """The JSON object of a result."""
    answer: dict[str, Any] = {
        "run_id": result.run_id,
        "status": result.status,
        "output_text": result.output_text,
        "human_intervention_required": result.human_intervention_required,
        "continuation_id": result.continuation_id,
        "metadata": encode(result.metadata),
    }
    if result.error is not None:
        answer["error"] = {"type": result.error.type, "message": result.error.message}
    return answer


def give(answer: Mapping[str, Any], *, as_json: bool) -> None:
    """Shows an answer, then leaves with the exit code of its status."""
    if as_json:
        show_json(answer)
    else:
        _show(answer)
    raise typer.Exit(exit_code_of(answer["status"]))


def resume_command(continuation_id: str, request_id: str, decision: str) -> str:
    """The command that answers a request with this decision."""
    return f"kneo human resume {shlex.quote(continuation_id)} --request-id {shlex.quote(request_id)} {_FLAGS[decision]}"


def usual_decisions(request_type: str) -> tuple[str, ...]:
    """The decisions that come to mind first for this type of request."""
    return _USUAL.get(request_type, tuple(_FLAGS))


def _show(answer: Mapping[str, Any]) -> None:
    run_id, status = answer["run_id"], answer["status"]
    error = answer.get("error") or {}
    if status == PAUSED:
        _show_pause(answer)
    elif status == RunStatus.COMPLETED:
        show(answer["output_text"] or "")
        succeed(f"Run {run_id} completed.")
    elif status == RunStatus.RUNNING:
        warn(f"Run {run_id} is still going on: see `kneo runs get {run_id}`.")
    else:
        reason = f": {error['message']}" if error.get("message") else "."
        fail(f"Run {run_id} {status.replace('_', ' ')}{reason}")
        if status == RunStatus.FAILED:
            warn(f"`kneo runs continue {run_id}` takes it up after its last finished step.")


def _show_pause(answer: Mapping[str, Any]) -> None:
    run_id, continuation_id = answer["run_id"], answer["continuation_id"]
    metadata = answer.get("metadata") or {}
    request = {**(metadata.get("request") or {}), **(metadata.get("pending_human_request") or {})}
    request_id = request.get("request_id") or request.get("id") or ""
    warn(f"Run {run_id} waits for a person.")
    show_facts(
        [
            ("run", run_id),
            ("continuation", continuation_id),
            ("request", request_id),
            ("question", request.get("prompt")),
            ("assignee", request.get("assignee")),
            ("options", ", ".join(request.get("options") or ())),
        ]
    )
    text = (request.get("context") or {}).get("input_text")
    if text:
        show(f"\n{bold('Text under review')}\n{text}")
    show(f"\n{bold('Answer with one of')}")
    for decision in usual_decisions(str(request.get("type", ""))):
        show(f"  {resume_command(continuation_id, request_id, decision)}")
