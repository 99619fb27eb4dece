"""`kneo schedules`."""

from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any

import typer

from kneo_serv.cli.answer import give
from kneo_serv.cli.backend import Answer, ScheduleOrder
from kneo_serv.cli.commands.run import Target
from kneo_serv.cli.directions import Directions, directed
from kneo_serv.cli.files import given_text
from kneo_serv.cli.following import following
from kneo_serv.cli.opening import open_backend
from kneo_serv.cli.options import AsJson, Environment, Factory, NoStream, Overlays, Quiet, SpecPath, Tools, Yes
from kneo_serv.cli.terminal import ask, moment, show, show_facts, show_json, show_rows, somebody_is_there, succeed
from kneo_serv.cli.workspace import open_workspace
from kneo_serv.model.schedule import CatchUp, Overlap

schedules_app = typer.Typer(
    name="schedules",
    no_args_is_help=True,
    help="Run specs by the calendar. Moments are kept while `kneo service serve` runs.",
)

Name = Annotated[str, typer.Argument(metavar="NAME", help="As `kneo schedules list` shows it.")]


class OverlapWord(StrEnum):
    """What becomes of a moment while the last run has not ended."""

    SKIP = Overlap.SKIP.value
    QUEUE = Overlap.QUEUE.value
    ALLOW = Overlap.ALLOW.value
    CANCEL_PREVIOUS = Overlap.CANCEL_PREVIOUS.value


class CatchUpWord(StrEnum):
    """What becomes of moments at which nobody was there."""

    NONE = CatchUp.NONE.value
    ONE = CatchUp.ONE.value
    ALL = CatchUp.ALL.value


@schedules_app.command("list")
@directed
def list_schedules(as_json: AsJson = False, *, directions: Directions) -> None:
    """List schedules, by name."""
    with open_backend(open_workspace(), directions) as backend:
        rows = backend.list_schedules()
    if as_json:
        show_json({"schedules": rows, "count": len(rows)})
        return
    if rows:
        cells = [
            [
                row["name"],
                row["cron"] or moment(row["at"]),
                row["timezone"] if row["cron"] else None,
                "paused" if row["paused"] else moment(row["next_due_at"]),
                row["last_outcome"],
                row["last_run_id"],
            ]
            for row in rows
        ]
        show_rows(("NAME", "WHEN", "ZONE", "NEXT", "LAST", "RUN"), cells)
    succeed(f"{len(rows)} schedules.")


@schedules_app.command("create")
@directed
def create(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Letters, digits, dots, hyphens, underlines.")],
    spec: SpecPath = None,
    cron: Annotated[
        str | None,
        typer.Option("--cron", metavar="EXPRESSION", help="Minute, hour, day, month, weekday; or such as @daily."),
    ] = None,
    timezone: Annotated[
        str, typer.Option("--timezone", metavar="ZONE", help="That --cron is meant in, such as Europe/Berlin.")
    ] = "UTC",
    at: Annotated[
        str | None, typer.Option("--at", metavar="MOMENT", help="Once, at this moment (ISO 8601; UTC without offset).")
    ] = None,
    input_text: Annotated[
        str | None, typer.Option("--input", "-i", metavar="TEXT", help="The text that each run starts with.")
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
        float | None, typer.Option("--timeout", metavar="SECONDS", help="End each run that takes longer.")
    ] = None,
    session: Annotated[str | None, typer.Option("--session", metavar="ID", help="Session of the runs.")] = None,
    tags: Annotated[list[str] | None, typer.Option("--tag", metavar="WORD", help="Mark the runs; repeatable.")] = None,
    overlap: Annotated[
        OverlapWord, typer.Option("--overlap", help="What becomes of a moment while the last run has not ended.")
    ] = OverlapWord.SKIP,
    catch_up: Annotated[
        CatchUpWord, typer.Option("--catch-up", help="What becomes of moments at which nobody was there.")
    ] = CatchUpWord.ONE,
    jitter: Annotated[
        float, typer.Option("--jitter", metavar="SECONDS", min=0, max=3600, help="Keep moments later, by chance.")
    ] = 0.0,
    paused: Annotated[bool, typer.Option("--paused", help="Wait for `kneo schedules resume`.")] = False,
    tools: Tools = None,
    factory: Factory = None,
    as_json: AsJson = False,
    *,
    directions: Directions,
) -> None:
    """Have a spec run by the calendar. A file is compiled anew for each run, so that a mended one is what runs."""
    if input_text is not None and input_file is not None:
        raise typer.BadParameter("Give one of them.", param_hint=["--input", "--input-file"])
    if (cron is None) == (at is None):
        raise typer.BadParameter("Give exactly one of them.", param_hint=["--cron", "--at"])
    if timeout is not None and timeout <= 0:
        raise typer.BadParameter("It must be above 0.", param_hint="--timeout")
    workspace = open_workspace(environment, tools=tools, factory=factory)
    path = workspace.spec(spec)
    with open_backend(workspace, directions) as backend:
        shown = backend.create_schedule(
            ScheduleOrder(
                name=name,
                spec=path,
                input_text=given_text(input_text, input_file) or "",
                target=target.value,
                cron=cron,
                timezone=timezone,
                at=_moment(at),
                overlays=tuple(overlays or ()),
                timeout_seconds=timeout,
                session_id=session,
                tags=tuple(tags or ()),
                overlap=overlap.value,
                catch_up=catch_up.value,
                jitter_seconds=jitter,
                paused=paused,
            )
        )
    _tell(shown, as_json=as_json)


@schedules_app.command("show")
@directed
def show_schedule(name: Name, as_json: AsJson = False, *, directions: Directions) -> None:
    """Show one schedule, and what came of its last moment."""
    with open_backend(open_workspace(), directions) as backend:
        shown = backend.get_schedule(name)
    _tell(shown, as_json=as_json)


@schedules_app.command("next")
@directed
def next_moments(
    name: Name,
    count: Annotated[int, typer.Option("--count", "-n", min=1, max=100, help="How many.")] = 5,
    as_json: AsJson = False,
    *,
    directions: Directions,
) -> None:
    """Show the next moments of a schedule, in UTC, as if it were not paused."""
    with open_backend(open_workspace(), directions) as backend:
        shown = backend.get_schedule(name, moments=count)
    if as_json:
        show_json({"name": name, "next_moments": shown["next_moments"]})
        return
    for one in shown["next_moments"]:
        show(str(moment(one)))


@schedules_app.command("pause")
@directed
def pause(name: Name, as_json: AsJson = False, *, directions: Directions) -> None:
    """Keep no moment any more until it is resumed. Runs that have begun go on."""
    with open_backend(open_workspace(), directions) as backend:
        shown = backend.pause_schedule(name)
    _done(shown, f"Schedule {name} is paused.", as_json=as_json)


@schedules_app.command("resume")
@directed
def resume(name: Name, as_json: AsJson = False, *, directions: Directions) -> None:
    """Go on with the next moment from now on."""
    with open_backend(open_workspace(), directions) as backend:
        shown = backend.resume_schedule(name)
    _done(shown, f"Schedule {name} is due next at {moment(shown['next_due_at'])}.", as_json=as_json)


@schedules_app.command("trigger")
@directed
def trigger(
    name: Name,
    tools: Tools = None,
    factory: Factory = None,
    no_stream: NoStream = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
    *,
    directions: Directions,
) -> None:
    """Run it now, whatever its moments are and though it may be paused."""
    workspace = open_workspace(tools=tools, factory=factory)
    silent = as_json or quiet
    with following(silent=silent, stream=not no_stream) as listener, open_backend(workspace, directions) as backend:
        answer = backend.trigger_schedule(name, listener)
    give(answer, as_json=as_json)


@schedules_app.command("delete")
@directed
def delete(name: Name, yes: Yes = False, as_json: AsJson = False, *, directions: Directions) -> None:
    """Remove a schedule. Its runs stay."""
    if not yes and not as_json and somebody_is_there() and not ask(f"Remove the schedule {name}?"):
        raise typer.Abort
    with open_backend(open_workspace(), directions) as backend:
        backend.delete_schedule(name)
    _done({"name": name, "deleted": True}, f"Schedule {name} is removed.", as_json=as_json)


def _moment(text: str | None) -> float | None:
    if text is None:
        return None
    try:
        found = datetime.fromisoformat(text.strip())
    except ValueError:
        raise typer.BadParameter(
            "It is no ISO 8601 date and time, such as 2030-01-01T09:00:00+01:00.", param_hint="--at"
        ) from None
    return (found if found.tzinfo is not None else found.replace(tzinfo=UTC)).timestamp()


def _done(shown: Any, text: str, *, as_json: bool) -> None:
    if as_json:
        show_json(shown)
        return
    succeed(text)


def _tell(shown: Answer, *, as_json: bool) -> None:
    if as_json:
        show_json(shown)
        return
    when = f"{shown['cron']} ({shown['timezone']})" if shown["cron"] else moment(shown["at"])
    show_facts(
        [
            ("schedule", shown["name"]),
            ("when", when),
            ("next", "paused" if shown["paused"] else moment(shown["next_due_at"])),
            ("overlap", shown["overlap"]),
            ("catch up", shown["catch_up"]),
            ("spec", shown["spec_path"] or "inline"),
            ("environment", shown["environment"]),
            ("target", shown["target"]),
            ("session", shown["session_id"]),
            ("runs", shown["runs"]),
            ("missed", shown["missed"]),
            ("last outcome", shown["last_outcome"]),
            ("last run", shown["last_run_id"]),
            ("last error", shown["last_error"]),
        ]
    )
