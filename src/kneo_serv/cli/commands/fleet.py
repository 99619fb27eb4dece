"""`kneo limits` and `kneo providers`."""

from typing import Annotated

import typer

from kneo_serv.cli.directions import Directions, directed
from kneo_serv.cli.files import given_text
from kneo_serv.cli.opening import open_backend
from kneo_serv.cli.options import AsJson
from kneo_serv.cli.terminal import moment, show_json, show_rows, succeed
from kneo_serv.cli.workspace import open_workspace

limits_app = typer.Typer(name="limits", no_args_is_help=True, help="How much all workers together may do at a time.")
providers_app = typer.Typer(name="providers", no_args_is_help=True, help="See, pause and resume providers of models.")

Name = Annotated[str, typer.Argument(metavar="PROVIDER", help="As `kneo providers list` shows it.")]


@limits_app.command("show")
@directed
def show_limits(as_json: AsJson = False, *, directions: Directions) -> None:
    """Show the limits that hold."""
    with open_backend(open_workspace(), directions) as backend:
        limits = backend.limits()
    if as_json:
        show_json({"limits": limits})
        return
    rows = [
        [kind, name, *(bound.get(one) for one in ("running", "waiting", "requests_per_minute"))]
        for kind, named in limits.items()
        for name, bound in named.items()
    ]
    if rows:
        show_rows(("KIND", "NAME", "RUNNING", "WAITING", "REQUESTS/MIN"), rows)
    succeed(f"{len(rows)} {'bound' if len(rows) == 1 else 'bounds'}.")


@limits_app.command("set")
@directed
def set_limits(
    file: Annotated[str, typer.Argument(metavar="FILE", help="All limits, as YAML or JSON; - means stdin.")],
    as_json: AsJson = False,
    *,
    directions: Directions,
) -> None:
    """Have the limits in a file hold from now on, in place of all that held before."""
    from kneo_serv.spec.reader import read_text

    data = read_text(given_text(None, file) or "", source=file).data()
    with open_backend(open_workspace(), directions) as backend:
        limits = backend.set_limits(data)
    if as_json:
        show_json({"limits": limits})
        return
    succeed(f"{sum(len(named) for named in limits.values())} bounds hold from now on.")


@providers_app.command("list")
@directed
def list_providers(as_json: AsJson = False, *, directions: Directions) -> None:
    """List the providers that failed lately, are paused, or are bounded by name."""
    with open_backend(open_workspace(), directions) as backend:
        providers = backend.providers()
    if as_json:
        show_json({"providers": providers, "count": len(providers)})
        return
    if providers:
        rows = [
            [one["name"], one["standing"], one["failures"], moment(one["paused_until"]), one["actor"], one["reason"]]
            for one in providers
        ]
        show_rows(("PROVIDER", "STANDING", "FAILURES", "PAUSED UNTIL", "BY", "REASON"), rows)
    succeed(f"{len(providers)} {'provider' if len(providers) == 1 else 'providers'}.")


@providers_app.command("pause")
@directed
def pause(
    name: Name,
    reason: Annotated[str | None, typer.Option("--reason", metavar="TEXT", help="Why; others see it.")] = None,
    as_json: AsJson = False,
    *,
    directions: Directions,
) -> None:
    """Have nobody ask a provider until it is resumed. Runs that need it wait."""
    with open_backend(open_workspace(), directions) as backend:
        state = backend.pause_provider(name, reason)
    if as_json:
        show_json(state)
        return
    succeed(f"Provider {name} is paused; runs that need it wait for `kneo providers resume`.")


@providers_app.command("resume")
@directed
def resume(name: Name, as_json: AsJson = False, *, directions: Directions) -> None:
    """Have a provider asked again."""
    with open_backend(open_workspace(), directions) as backend:
        state = backend.resume_provider(name)
    if as_json:
        show_json(state)
        return
    succeed(f"Provider {name} is asked again.")
