"""`kneo audit`."""

from typing import Annotated

import typer

from kneo_serv.cli.directions import Directions, directed
from kneo_serv.cli.opening import open_backend
from kneo_serv.cli.options import AsJson
from kneo_serv.cli.terminal import moment, show_json, show_rows, succeed
from kneo_serv.cli.workspace import open_workspace

audit_app = typer.Typer(name="audit", no_args_is_help=True, help="See who did what.")


@audit_app.command("list")
@directed
def list_audit(
    run_id: Annotated[str | None, typer.Option("--run", metavar="ID", help="Only of this run.")] = None,
    event_type: Annotated[str | None, typer.Option("--type", metavar="TYPE", help="Only of this type.")] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=1000, help="How many.")] = 50,
    as_json: AsJson = False,
    *,
    directions: Directions,
) -> None:
    """List audit events, the newest first."""
    with open_backend(open_workspace(), directions) as backend:
        events, total = backend.list_audit(run_id=run_id, event_type=event_type, limit=limit)
    if as_json:
        show_json({"events": events, "count": len(events), "total": total})
        return
    if events:
        names = ("event_type", "actor", "run_id", "continuation_id")
        rows = [[moment(event["created_at"]), *(event[name] for name in names)] for event in events]
        show_rows(("TIME", "TYPE", "ACTOR", "RUN", "CONTINUATION"), rows)
    succeed(f"{len(events)} of {total} events.")
