"""`kneo human`."""

from typing import Annotated

import typer

from kneo_serv.cli.answer import give
from kneo_serv.cli.decision import Approve, Comment, Edit, Provide, Reject, Select, decided, needed
from kneo_serv.cli.directions import Directions, directed
from kneo_serv.cli.following import following
from kneo_serv.cli.opening import open_backend
from kneo_serv.cli.options import AsJson, ContinuationId, Factory, NoStream, Quiet, Tools
from kneo_serv.cli.question import show_question
from kneo_serv.cli.terminal import show_json, show_rows, succeed
from kneo_serv.cli.workspace import open_workspace

human_app = typer.Typer(name="human", no_args_is_help=True, help="See what people are asked, and answer.")


@human_app.command("list")
@directed
def list_tasks(
    limit: Annotated[int, typer.Option("--limit", min=1, max=1000, help="How many.")] = 100,
    as_json: AsJson = False,
    *,
    directions: Directions,
) -> None:
    """List the questions that wait for an answer."""
    with open_backend(open_workspace(), directions) as backend:
        tasks = backend.list_tasks(limit=limit)
    if as_json:
        show_json({"tasks": tasks, "count": len(tasks)})
        return
    rows = []
    for task in tasks:
        request = task.get("pending_human_request") or {}
        request_id = task.get("pending_human_request_id") or request.get("id")
        rows.append([task.get("id"), request_id, request.get("assignee"), request.get("prompt"), task.get("run_id")])
    if rows:
        show_rows(("CONTINUATION", "REQUEST", "ASSIGNEE", "QUESTION", "RUN"), rows)
    succeed(f"{len(rows)} open {'question' if len(rows) == 1 else 'questions'}.")


@human_app.command("get")
@directed
def get_task(continuation_id: ContinuationId, as_json: AsJson = False, *, directions: Directions) -> None:
    """Show one question with the text under review."""
    with open_backend(open_workspace(), directions) as backend:
        request = backend.get_task(continuation_id)
    if as_json:
        show_json({"continuation_id": continuation_id, "request": request})
        return
    show_question(request, continuation_id=continuation_id)


@human_app.command("resume")
@directed
def resume(
    continuation_id: ContinuationId,
    request_id: Annotated[str, typer.Option("--request-id", metavar="ID", help="The request that is answered.")],
    approve: Approve = False,
    reject: Reject = False,
    edit: Edit = None,
    provide: Provide = None,
    select: Select = None,
    comment: Comment = None,
    tools: Tools = None,
    factory: Factory = None,
    no_stream: NoStream = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
    *,
    directions: Directions,
) -> None:
    """Answer a question; its run goes on from there."""
    response = needed(
        decided(request_id, approve=approve, reject=reject, edit=edit, provide=provide, select=select, comment=comment)
    )
    workspace = open_workspace(tools=tools, factory=factory)
    silent = as_json or quiet
    with following(silent=silent, stream=not no_stream) as listener, open_backend(workspace, directions) as backend:
        answer = backend.resume(continuation_id, response, listener)
    give(answer, as_json=as_json)
