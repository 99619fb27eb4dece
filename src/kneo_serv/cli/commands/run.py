"""`kneo run`."""

import os
from enum import StrEnum
from typing import Annotated

import typer

from kneo_serv.cli.answer import give
from kneo_serv.cli.backend import RunOrder
from kneo_serv.cli.directions import Directions, directed
from kneo_serv.cli.files import given_text
from kneo_serv.cli.following import following
from kneo_serv.cli.opening import open_backend
from kneo_serv.cli.options import AsJson, Environment, Factory, NoStream, Overlays, Quiet, SpecPath, Tools
from kneo_serv.cli.workspace import open_workspace


class Target(StrEnum):
    """What a run executes."""

    AGENT = "agent"
    WORKFLOW = "workflow"


@directed
def run(
    spec: SpecPath = None,
    input_text: Annotated[
        str | None, typer.Option("--input", "-i", metavar="TEXT", help="The text that the run starts with.")
    ] = None,
    input_file: Annotated[
        str | None, typer.Option("--input-file", metavar="PATH", help="Take that text from a file; - means stdin.")
    ] = None,
    target: Annotated[
        Target, typer.Option("--target", help="Run the spec's workflow, or its root agent alone.")
    ] = Target.WORKFLOW,
    environment: Environment = None,
    overlays: Overlays = None,
    timeout: Annotated[
        float | None,
        typer.Option("--timeout", metavar="SECONDS", help="End the run as timed_out when it takes longer."),
    ] = None,
    session: Annotated[str | None, typer.Option("--session", metavar="ID", help="Session the run belongs to.")] = None,
    tags: Annotated[list[str] | None, typer.Option("--tag", metavar="WORD", help="Mark the run; repeatable.")] = None,
    queue: Annotated[
        str | None, typer.Option("--queue", metavar="NAME", help="Queue the run waits in; else the spec's.")
    ] = None,
    priority: Annotated[
        int | None,
        typer.Option("--priority", min=-100, max=100, help="More goes first among runs that wait; else the spec's."),
    ] = None,
    tools: Tools = None,
    factory: Factory = None,
    no_stream: NoStream = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
    *,
    directions: Directions,
) -> None:
    """Run a spec until it is done or waits for a person.

    The output goes to stdout, everything else to stderr. On a terminal, one sees what models say while they say it.
    """
    if (input_text is None) == (input_file is None):
        raise typer.BadParameter("Give exactly one of them.", param_hint=["--input", "--input-file"])
    text = given_text(input_text, input_file) or ""
    if timeout is not None and timeout <= 0:
        raise typer.BadParameter("It must be above 0.", param_hint="--timeout")
    workspace = open_workspace(environment, tools=tools, factory=factory)
    path = workspace.spec(spec)
    silent = as_json or quiet
    with following(silent=silent, stream=not no_stream) as listener, open_backend(workspace, directions) as backend:
        order = RunOrder(
            spec=path,
            input_text=text,
            target=target.value,
            overlays=tuple(overlays or ()),
            timeout_seconds=timeout,
            session_id=session,
            tags=tuple(tags or ()),
            queue=queue,
            priority=priority,
            trace={name: os.environ.get(name.upper(), "") for name in ("traceparent", "tracestate")},
        )
        answer = backend.run(order, listener)
    give(answer, as_json=as_json)
