"""Where a command finds what answers it: the platform in this process, or a service."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from kneo_serv.cli.address import tells_everybody
from kneo_serv.cli.backend import Backend
from kneo_serv.cli.destination import Destination, choose
from kneo_serv.cli.directions import Directions
from kneo_serv.cli.local import LocalBackend
from kneo_serv.cli.profiles import ProfileFile
from kneo_serv.cli.subject import Subject, open_local_subject
from kneo_serv.cli.terminal import warn
from kneo_serv.cli.workspace import Workspace

if TYPE_CHECKING:
    from kneo_serv.cli.remote.client import ServiceClient

_FAREWELL = 2.0
"""Seconds that a step in hand gets after an interruption from the keyboard."""


def destination_of(workspace: Workspace, directions: Directions) -> Destination | None:
    """The service that a command talks to, None for the platform in this process; raises as `choose`."""
    project = workspace.project
    return choose(
        directions,
        ProfileFile.of(workspace.environ),
        environ=workspace.environ,
        configured=project.config.service.default_url if project.config else None,
        config=str(project.config_path),
    )


@contextmanager
def open_backend(workspace: Workspace, directions: Directions) -> Iterator[Backend]:
    """The backend that a command line and a workspace mean, closed at the end; raises as `destination_of`."""
    destination = destination_of(workspace, directions)
    if destination is not None:
        with _served(workspace, destination) as client:
            from kneo_serv.cli.remote.backend import ServiceBackend

            yield ServiceBackend(workspace, client)
        return
    backend = LocalBackend(workspace)
    try:
        yield backend
    except KeyboardInterrupt:
        backend.close(timeout=_FAREWELL)
        raise
    finally:
        backend.close()


@contextmanager
def open_subject(
    workspace: Workspace, directions: Directions, spec: Path | None, overlays: Sequence[Path] | None
) -> Iterator[Subject]:
    """The spec that a command line names, ready to be looked at. Raises CustomCodeError, and as `destination_of`."""
    destination = destination_of(workspace, directions)
    if destination is None:
        yield open_local_subject(workspace, spec, overlays)
        return
    with _served(workspace, destination) as client:
        from kneo_serv.cli.remote.spec import ServedSubject

        yield ServedSubject(workspace, spec, overlays, client)


@contextmanager
def _served(workspace: Workspace, destination: Destination) -> Iterator["ServiceClient"]:
    if workspace.tools or workspace.factory:
        raise typer.BadParameter(
            f"The service at {destination.url} has the code that it was started with; --local uses this one.",
            param_hint=["--tools", "--factory"],
        )
    from kneo_serv.cli.remote.client import connected

    warn_of(destination, ProfileFile.of(workspace.environ))
    with connected(destination, workspace.environ) as client:
        yield client


def warn_of(destination: Destination, profiles: ProfileFile) -> None:
    """Remarks what endangers a key that is sent there."""
    if destination.api_key is None:
        return
    if tells_everybody(destination.url):
        warn(f"The API key goes to {destination.url} without TLS: whoever is on the way can read it. Use https://.")
    if destination.key_source is not None and str(profiles.path) in destination.key_source:
        exposure = profiles.exposure()
        if exposure is not None:
            warn(exposure)
