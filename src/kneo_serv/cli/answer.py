"""The answer to `run`, `resume` and `continue`, and how it is shown."""

from collections.abc import Mapping
from typing import Any

import typer

from kneo_serv.cli.exit_codes import ExitCode, exit_code_of
from kneo_serv.cli.question import show_question
from kneo_serv.cli.terminal import fail, show, show_json, succeed, warn
from kneo_serv.model.codec import encode
from kneo_serv.model.run import PAUSED, RunResult, RunStatus


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
    raise typer.Exit(ExitCode.RUN_FAILED if _is_parked(answer) else exit_code_of(answer["status"]))


def _show(answer: Mapping[str, Any]) -> None:
    run_id, status = answer["run_id"], answer["status"]
    error = answer.get("error") or {}
    if status == PAUSED:
        _show_pause(answer)
    elif status == RunStatus.COMPLETED:
        show(answer["output_text"] or "")
        succeed(f"Run {run_id} completed.")
    elif _is_parked(answer):
        fail(f"Run {run_id} was put aside: {error['message']}")
        warn(f"`kneo runs continue {run_id}` takes it up again.")
    elif status == RunStatus.RUNNING:
        warn(f"Run {run_id} is still going on: see `kneo runs get {run_id}`.")
    else:
        reason = f": {error['message']}" if error.get("message") else "."
        fail(f"Run {run_id} {status.replace('_', ' ')}{reason}")
        if status == RunStatus.FAILED:
            warn(f"`kneo runs continue {run_id}` takes it up after its last finished step.")


def _is_parked(answer: Mapping[str, Any]) -> bool:
    return answer["status"] == RunStatus.RUNNING and "error" in answer


def _show_pause(answer: Mapping[str, Any]) -> None:
    metadata = answer["metadata"]
    pending = metadata.get("pending_human_request") or {}
    request = {"id": pending.get("request_id"), "prompt": pending.get("prompt"), **(metadata.get("request") or {})}
    warn(f"Run {answer['run_id']} waits for a person.")
    show_question(request, continuation_id=answer["continuation_id"], run_id=answer["run_id"])
