"""`kneo human`."""

from typing import Annotated

import typer

from kneo_serv.cli.answer import give
from kneo_serv.cli.backend import open_backend
from kneo_serv.cli.options import AsJson, Quiet
from kneo_serv.cli.progress import following
from kneo_serv.cli.question import show_question
from kneo_serv.cli.terminal import show_json, show_rows, succeed
from kneo_serv.cli.workspace import open_workspace
from kneo_serv.model.task import Decision, HumanResponse

human_app = typer.Typer(name="human", no_args_is_help=True, help="See what people are asked, and answer.")

ContinuationId = Annotated[
    str, typer.Argument(metavar="CONTINUATION_ID", help="As a paused run and `kneo human list` show it.")
]


@human_app.command("list")
def list_tasks(
    limit: Annotated[int, typer.Option("--limit", min=1, max=1000, help="How many.")] = 100, as_json: AsJson = False
) -> None:
    """List the questions that wait for an answer."""
    with open_backend(open_workspace()) as backend:
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
def get_task(continuation_id: ContinuationId, as_json: AsJson = False) -> None:
    """Show one question with the text under review."""
    with open_backend(open_workspace()) as backend:
        request = backend.get_task(continuation_id)
    if as_json:
        show_json({"continuation_id": continuation_id, "request": request})
        return
    show_question(request, continuation_id=continuation_id)


@human_app.command("resume")
def resume(
    continuation_id: ContinuationId,
    request_id: Annotated[str, typer.Option("--request-id", metavar="ID", help="The request that is answered.")],
    approve: Annotated[bool, typer.Option("--approve", help="Yes: the text goes on as it is.")] = False,
    reject: Annotated[bool, typer.Option("--reject", help="No.")] = False,
    edit: Annotated[str | None, typer.Option("--edit", metavar="TEXT", help="Put this text in its place.")] = None,
    provide: Annotated[str | None, typer.Option("--provide", metavar="TEXT", help="Answer with this text.")] = None,
    select: Annotated[str | None, typer.Option("--select", metavar="OPTION", help="Choose this option.")] = None,
    comment: Annotated[
        str | None, typer.Option("--comment", metavar="TEXT", help="Say something with --approve or --reject.")
    ] = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Answer a question; its run goes on from there."""
    answers = {
        Decision.APPROVED: True if approve else None,
        Decision.REJECTED: True if reject else None,
        Decision.EDITED: edit,
        Decision.PROVIDED: provide,
        Decision.SELECTED: select,
    }
    given = [decision for decision, value in answers.items() if value is not None]
    if len(given) != 1:
        raise typer.BadParameter(
            "Give exactly one of them.", param_hint=["--approve", "--reject", "--edit", "--provide", "--select"]
        )
    if comment is not None and given[0] not in {Decision.APPROVED, Decision.REJECTED}:
        raise typer.BadParameter("It goes with --approve and --reject only.", param_hint="--comment")
    response = HumanResponse(
        request_id=request_id,
        decision=given[0],
        content=next((text for text in (edit, provide, comment) if text is not None), None),
        selected_option=select,
    )
    with following(silent=as_json or quiet) as listener, open_backend(open_workspace()) as backend:
        answer = backend.resume(continuation_id, response, listener)
    give(answer, as_json=as_json)
