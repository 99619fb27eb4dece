"""`kneo runs fork` and `kneo runs retry`."""

from dataclasses import replace
from typing import Annotated, Any

import typer

from kneo_serv.cli.answer import give
from kneo_serv.cli.backend import ForkOrder
from kneo_serv.cli.decision import Approve, Comment, Edit, Provide, Reject, Select, decided
from kneo_serv.cli.directions import Directions, directed
from kneo_serv.cli.files import given_text
from kneo_serv.cli.following import following
from kneo_serv.cli.opening import open_backend
from kneo_serv.cli.options import AsJson, Factory, NoStream, Quiet, RunIdArgument, Tools, Yes
from kneo_serv.cli.refusal import code_of
from kneo_serv.cli.terminal import ask, note, note_rows, show_json, somebody_is_there
from kneo_serv.cli.workspace import Workspace, open_workspace
from kneo_serv.errors import KneoError

At = Annotated[
    int | None,
    typer.Option("--at", metavar="N", min=1, help="Number of the checkpoint; the last usable one without it."),
]
Input = Annotated[
    str | None, typer.Option("--input", "-i", metavar="TEXT", help="The text that flows into the next step.")
]
InputFile = Annotated[
    str | None, typer.Option("--input-file", metavar="PATH", help="Take that text from a file; - means stdin.")
]
RequestId = Annotated[str, typer.Option("--request-id", metavar="ID", help="The question that is answered.")]
Provider = Annotated[str | None, typer.Option("--provider", metavar="NAME", help="Ask this provider from there on.")]
Model = Annotated[str | None, typer.Option("--model", metavar="NAME", help="Ask this model from there on.")]
Preview = Annotated[bool, typer.Option("--preview", help="Only show what would be kept, and what repeated.")]


@directed
def fork(
    run_id: RunIdArgument,
    at: At = None,
    input_text: Input = None,
    input_file: InputFile = None,
    request_id: RequestId = "",
    approve: Approve = False,
    reject: Reject = False,
    edit: Edit = None,
    provide: Provide = None,
    select: Select = None,
    comment: Comment = None,
    provider: Provider = None,
    model: Model = None,
    preview: Preview = False,
    yes: Yes = False,
    tools: Tools = None,
    factory: Factory = None,
    no_stream: NoStream = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
    *,
    directions: Directions,
) -> None:
    """Start a new run from a checkpoint of another one, with something changed.

    What is finished there is kept; side effects behind it are shown before they may happen once more.
    """
    if preview:
        with open_backend(open_workspace(), directions) as backend:
            show_json(backend.preview_fork(run_id, at))
        return
    response = decided(
        request_id, approve=approve, reject=reject, edit=edit, provide=provide, select=select, comment=comment
    )
    order = ForkOrder(
        run_id,
        at_sequence=at,
        input_text=_text(input_text, input_file),
        answer=response,
        model=_model(provider, model),
        accept_side_effects=yes,
    )
    workspace = open_workspace(tools=tools, factory=factory)
    _fork(workspace, directions, order, stream=not no_stream, quiet=quiet, as_json=as_json)


@directed
def retry(
    run_id: RunIdArgument,
    input_text: Input = None,
    input_file: InputFile = None,
    provider: Provider = None,
    model: Model = None,
    yes: Yes = False,
    tools: Tools = None,
    factory: Factory = None,
    no_stream: NoStream = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
    *,
    directions: Directions,
) -> None:
    """Start a new run from before the step that ended another one."""
    order = ForkOrder(
        run_id,
        retry=True,
        input_text=_text(input_text, input_file),
        model=_model(provider, model),
        accept_side_effects=yes,
    )
    workspace = open_workspace(tools=tools, factory=factory)
    _fork(workspace, directions, order, stream=not no_stream, quiet=quiet, as_json=as_json)


def _text(text: str | None, path: str | None) -> str | None:
    if text is not None and path is not None:
        raise typer.BadParameter("Give one of them at most.", param_hint=["--input", "--input-file"])
    return given_text(text, path)


def _model(provider: str | None, model: str | None) -> dict[str, Any] | None:
    if (provider is None) != (model is None):
        raise typer.BadParameter("They go together.", param_hint=["--provider", "--model"])
    return None if provider is None else {"provider": provider, "name": model}


def _fork(
    workspace: Workspace, directions: Directions, order: ForkOrder, *, stream: bool, quiet: bool, as_json: bool
) -> None:
    with open_backend(workspace, directions) as backend:
        try:
            with following(silent=as_json or quiet, stream=stream) as listener:
                answer = backend.fork(order, listener)
        except KneoError as needed:
            if code_of(needed) != "fork_consent_required" or as_json or not somebody_is_there():
                raise
            effects = needed.facts()["repeated_side_effects"]
            note("These may happen once more:")
            note_rows(
                ("STEP", "KIND", "NAME", "EFFECT"),
                [[effect[name] for name in ("step_id", "kind", "ref", "effect")] for effect in effects],
            )
            if not ask("Go on?"):
                raise
            with following(silent=quiet, stream=stream) as listener:
                answer = backend.fork(replace(order, accept_side_effects=True), listener)
    if not as_json:
        origin = answer["forked_from"]
        note(f"Run {answer['run_id']}, forked from {origin['run_id']} at checkpoint {origin['at_sequence']}.")
    give(answer, as_json=as_json)
