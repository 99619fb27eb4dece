"""`kneo runs`."""

from enum import StrEnum
from typing import Annotated

import typer

from kneo_serv.cli.answer import give
from kneo_serv.cli.directions import Directions, directed
from kneo_serv.cli.following import following
from kneo_serv.cli.opening import open_backend
from kneo_serv.cli.options import AsJson, Factory, NoStream, Quiet, RunIdArgument, Tools
from kneo_serv.cli.terminal import moment, show, show_facts, show_json, show_rows, succeed
from kneo_serv.cli.workspace import open_workspace
from kneo_serv.model.page import RunFilter
from kneo_serv.model.run import PAUSED, RunStatus

runs_app = typer.Typer(name="runs", no_args_is_help=True, help="Look at runs, end them, take them up again.")


class StatusWord(StrEnum):
    """The statuses a list may be asked for; paused and blocked are the same."""

    CREATED = RunStatus.CREATED.value
    RUNNING = RunStatus.RUNNING.value
    BLOCKED = RunStatus.BLOCKED.value
    PAUSED = PAUSED
    COMPLETED = RunStatus.COMPLETED.value
    FAILED = RunStatus.FAILED.value
    CANCELLED = RunStatus.CANCELLED.value
    TIMED_OUT = RunStatus.TIMED_OUT.value
    EXPIRED = RunStatus.EXPIRED.value


@runs_app.command("list")
@directed
def list_runs(
    status: Annotated[
        list[StatusWord] | None, typer.Option("--status", help="Only runs of this status; repeatable.")
    ] = None,
    workflow: Annotated[str | None, typer.Option("--workflow", metavar="NAME", help="Only of this workflow.")] = None,
    agent: Annotated[str | None, typer.Option("--agent", metavar="NAME", help="Only of this agent.")] = None,
    session: Annotated[str | None, typer.Option("--session", metavar="ID", help="Only of this session.")] = None,
    query: Annotated[
        str | None, typer.Option("--query", metavar="TEXT", help="Only with this text in the output or the error.")
    ] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=1000, help="How many.")] = 20,
    offset: Annotated[int, typer.Option("--offset", min=0, help="How many to pass over.")] = 0,
    as_json: AsJson = False,
    *,
    directions: Directions,
) -> None:
    """List runs, the latest change first."""
    words = tuple(dict.fromkeys(RunStatus.BLOCKED.value if word == PAUSED else word.value for word in status or ()))
    filters = RunFilter(status=words, workflow_name=workflow, agent_name=agent, session_id=session, q=query)
    with open_backend(open_workspace(), directions) as backend:
        rows, total = backend.list_runs(filters, limit=limit, offset=offset)
    if as_json:
        show_json({"runs": rows, "count": len(rows), "total": total, "limit": limit, "offset": offset})
        return
    if rows:
        names = ("run_id", "status", "workflow_name", "current_step_id")
        cells = [[*(row.get(name) for name in names), moment(row.get("updated_at"))] for row in rows]
        show_rows(("RUN", "STATUS", "WORKFLOW", "STEP", "UPDATED"), cells)
    succeed(f"{len(rows)} of {total} runs.")


@runs_app.command("get")
@directed
def get_run(run_id: RunIdArgument, as_json: AsJson = False, *, directions: Directions) -> None:
    """Show one run."""
    with open_backend(open_workspace(), directions) as backend:
        view = backend.get_run(run_id)
    if as_json:
        show_json(view)
        return
    _show_run(view)


@runs_app.command("trace")
@directed
def trace(run_id: RunIdArgument, as_json: AsJson = False, *, directions: Directions) -> None:
    """Show what happened in a run, in order."""
    with open_backend(open_workspace(), directions) as backend:
        events = backend.trace(run_id)
    if as_json:
        show_json({"run_id": run_id, "events": events})
        return
    names = ("type", "agent_name", "step_id", "tool_name")
    rows = [
        [
            number,
            moment(event.get("timestamp")),
            *(event.get(name) for name in names),
            event.get("output_preview") or event.get("error"),
        ]
        for number, event in enumerate(events, start=1)
    ]
    show_rows(("#", "TIME", "TYPE", "AGENT", "STEP", "TOOL", "PREVIEW"), rows)


@runs_app.command("checkpoints")
@directed
def checkpoints(run_id: RunIdArgument, as_json: AsJson = False, *, directions: Directions) -> None:
    """Show the checkpoints of a run."""
    with open_backend(open_workspace(), directions) as backend:
        found = backend.checkpoints(run_id)
    if as_json:
        show_json({"run_id": run_id, "checkpoints": found})
        return
    names = ("sequence", "type", "step_id", "node_id")
    rows = [[*(point.get(name) for name in names), moment(point.get("created_at"))] for point in found]
    show_rows(("#", "TYPE", "STEP", "NODE", "TIME"), rows)


@runs_app.command("replay")
@directed
def replay(run_id: RunIdArgument, as_json: AsJson = False, *, directions: Directions) -> None:
    """Show the time line of a run, and what a continuation would start from."""
    with open_backend(open_workspace(), directions) as backend:
        view = backend.replay(run_id)
    if as_json:
        show_json(view)
        return
    names = ("sequence", "type", "step_id", "status")
    timeline = view.get("timeline") or ()
    rows = [[*(item.get(name) for name in names), moment(item.get("created_at"))] for item in timeline]
    show_rows(("#", "TYPE", "STEP", "STATUS", "TIME"), rows)


@runs_app.command("checkpoint-diff")
@directed
def checkpoint_diff(
    run_id: RunIdArgument,
    from_sequence: Annotated[
        int | None, typer.Option("--from-sequence", metavar="N", min=1, help="Number of the earlier checkpoint.")
    ] = None,
    to_sequence: Annotated[
        int | None, typer.Option("--to-sequence", metavar="N", min=1, help="Number of the later checkpoint.")
    ] = None,
    as_json: AsJson = False,
    *,
    directions: Directions,
) -> None:
    """Show what changed between two checkpoints, the last two unless others are named."""
    with open_backend(open_workspace(), directions) as backend:
        diff = backend.checkpoint_diff(run_id, from_sequence=from_sequence, to_sequence=to_sequence)
    if as_json:
        show_json(diff)
        return
    for change in diff.get("added") or ():
        show(f"+ {change['path']}: {change['value']!r}")
    for change in diff.get("removed") or ():
        show(f"- {change['path']}: {change['value']!r}")
    for change in diff.get("changed") or ():
        show(f"~ {change['path']}: {change['before']!r} -> {change['after']!r}")
    succeed(f"{diff['change_count']} changes{', of which the first are shown' if diff.get('truncated') else ''}.")


@runs_app.command("cancel")
@directed
def cancel(run_id: RunIdArgument, as_json: AsJson = False, *, directions: Directions) -> None:
    """End a run early. A run that has ended stays as it is."""
    with open_backend(open_workspace(), directions) as backend:
        view = backend.cancel(run_id)
    if as_json:
        show_json(view)
        return
    succeed(f"Run {run_id} is {str(view['status']).replace('_', ' ')}.")


@runs_app.command("continue")
@directed
def continue_run(
    run_id: RunIdArgument,
    tools: Tools = None,
    factory: Factory = None,
    no_stream: NoStream = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
    *,
    directions: Directions,
) -> None:
    """Take a failed or orphaned run up after its last finished step."""
    workspace = open_workspace(tools=tools, factory=factory)
    silent = as_json or quiet
    with following(silent=silent, stream=not no_stream) as listener, open_backend(workspace, directions) as backend:
        answer = backend.continue_run(run_id, listener)
    give(answer, as_json=as_json)


def _show_run(view: dict[str, object]) -> None:
    error = view.get("error")
    visited = view.get("visited_steps")
    show_facts(
        [
            ("run", view.get("run_id")),
            ("status", view.get("status")),
            ("workflow", view.get("workflow_name")),
            ("agent", view.get("agent_name")),
            ("step", view.get("current_step_id")),
            ("steps done", ", ".join(map(str, visited)) if isinstance(visited, list) else None),
            ("continuation", view.get("continuation_id")),
            ("session", view.get("session_id")),
            ("created", moment(view.get("created_at"))),
            ("updated", moment(view.get("updated_at"))),
            ("error", error.get("message") if isinstance(error, dict) else error),
        ]
    )
    if view.get("output_text"):
        show(f"\n{view['output_text']}")
