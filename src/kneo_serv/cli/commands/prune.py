"""`kneo prune`."""

from typing import Annotated

import typer

from kneo_serv.cli.directions import Directions, directed
from kneo_serv.cli.opening import open_backend
from kneo_serv.cli.options import AsJson, Factory, Tools
from kneo_serv.cli.terminal import show_json, show_rows, succeed
from kneo_serv.cli.workspace import open_workspace


@directed
def prune(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Change nothing; say what would go.")] = False,
    tools: Tools = None,
    factory: Factory = None,
    as_json: AsJson = False,
    *,
    directions: Directions,
) -> None:
    """End what is overdue, and remove what is older than is kept.

    How long things are kept, the block `retention` of the project says, and KNEO_SERV_RETENTION_RUNS_DAYS and its like.
    Where nothing says so, nothing is removed. A service does the same by itself.
    """
    with open_backend(open_workspace(tools=tools, factory=factory), directions) as backend:
        counts = backend.prune(None, dry_run=dry_run)
    if as_json:
        show_json({"dry_run": dry_run, **counts})
        return
    found = [(name.replace("_", " "), number) for name, number in counts.items() if number]
    if found:
        show_rows(("WHAT", "WOULD GO" if dry_run else "GONE"), found)
    total = sum(counts.values())
    succeed(f"{total} {'would go' if dry_run else 'gone'}." if total else "There is nothing to prune.")
