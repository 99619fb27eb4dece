"""`kneo runs export` and `kneo runs delete`."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from kneo_serv.cli.directions import Directions, directed
from kneo_serv.cli.opening import open_backend
from kneo_serv.cli.options import AsJson, Output, RunIdArgument, Yes
from kneo_serv.cli.terminal import ask, show, show_json, somebody_is_there, succeed
from kneo_serv.cli.workspace import open_workspace
from kneo_serv.errors import InvalidRequestError


@directed
def export(
    run_id: RunIdArgument,
    output: Output = None,
    private: Annotated[
        bool, typer.Option("--private", help="With secrets: exactly what happened. The file is for its owner only.")
    ] = False,
    *,
    directions: Directions,
) -> None:
    """Write a run with its journal and audit as lines of JSON, to be kept elsewhere."""
    with open_backend(open_workspace(), directions) as backend:
        lines = backend.export_run(run_id, private=private)
        if output is None:
            for line in lines:
                show(line)
            return
        count = _write(output, lines)
    succeed(f"{count} lines of run {run_id} are in {output}.")


@directed
def delete(run_id: RunIdArgument, yes: Yes = False, as_json: AsJson = False, *, directions: Directions) -> None:
    """Remove a run that has ended, with its events. What the audit says of it stays."""
    if not yes and not as_json and somebody_is_there() and not ask(f"Remove the run {run_id} for good?"):
        raise typer.Abort
    with open_backend(open_workspace(), directions) as backend:
        backend.delete_run(run_id)
    if as_json:
        show_json({"run_id": run_id, "deleted": True})
        return
    succeed(f"Run {run_id} is removed.")


def _write(path: Path, lines: Iterator[str]) -> int:
    # The first line tells whether there is such a run, before a file is made.
    first = next(lines)
    count = 1
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with open(handle, "w", encoding="utf-8") as file:
            file.write(f"{first}\n")
            for line in lines:
                file.write(f"{line}\n")
                count += 1
    except OSError as error:
        raise InvalidRequestError(f"{path} cannot be written: {error.strerror}.") from None
    return count
