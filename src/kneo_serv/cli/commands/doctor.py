"""`kneo doctor`."""

import os
import platform
import shutil
import stat
import sys
from collections.abc import Iterator
from contextlib import redirect_stdout
from pathlib import Path
from typing import Annotated

import typer

from kneo_serv import __version__
from kneo_serv.cli.directions import Directions, directed
from kneo_serv.cli.exit_codes import ExitCode
from kneo_serv.cli.opening import destination_of, open_backend
from kneo_serv.cli.options import AsJson
from kneo_serv.cli.refusal import ServiceRefusal
from kneo_serv.cli.terminal import fail, show_json, show_rows, succeed
from kneo_serv.cli.workspace import Workspace, open_workspace
from kneo_serv.errors import KneoError, SettingsError

_LEAST_FREE = 100_000_000
_KEYS = ("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "GOOGLE_API_KEY")


@directed
def doctor(
    journal: Annotated[bool, typer.Option("--journal", help="Look through the journals of runs instead.")] = False,
    limit: Annotated[
        int | None, typer.Option("--limit", metavar="N", min=1, help="Only the journals of the newest N runs.")
    ] = None,
    as_json: AsJson = False,
    *,
    directions: Directions,
) -> None:
    """Check what can be wrong around here, and say how to mend it."""
    if journal:
        _journals(limit, directions, as_json=as_json)
        return
    checks = list(_checks(directions))
    if as_json:
        show_json({"checks": [dict(zip(("check", "state", "message"), line, strict=True)) for line in checks]})
    else:
        show_rows(("CHECK", "STATE", "WHAT"), checks)
    if any(state == "fail" for _, state, _ in checks):
        raise typer.Exit(ExitCode.FAILURE)


def _journals(limit: int | None, directions: Directions, *, as_json: bool) -> None:
    with open_backend(open_workspace(), directions) as backend:
        findings = backend.check_journals(limit=limit)
    if as_json:
        show_json({"sound": not findings, "findings": findings})
    elif findings:
        show_rows(("RUN", "CODE", "FINDING"), [[one["run_id"], one["code"], one["message"]] for one in findings])
        fail(f"{len(findings)} findings.")
    else:
        succeed("The journals are sound.")
    if findings:
        raise typer.Exit(ExitCode.FAILURE)


def _checks(directions: Directions) -> Iterator[tuple[str, str, str]]:
    yield "versions", "ok", f"kneo-serv {__version__}, Python {platform.python_version()}"
    settings = _settings()
    yield settings
    workspace = open_workspace()
    yield _state(workspace.state_path)
    if settings[1] == "ok":
        yield _code(workspace)
    free = shutil.disk_usage(workspace.root).free
    enough = free >= _LEAST_FREE
    yield "disk", "ok" if enough else "warn", f"{free // 1_000_000:,} MB free{'' if enough else ': make room'}"
    present = [name for name in _KEYS if os.environ.get(name)]
    told = ", ".join(present) if present else "no key of a provider is set; the dummy provider needs none"
    yield "providers", "ok", told
    if settings[1] == "ok":
        yield from _service(workspace, directions)


def _service(workspace: Workspace, directions: Directions) -> Iterator[tuple[str, str, str]]:
    try:
        destination = destination_of(workspace, directions)
        if destination is None:
            return
        from kneo_serv.cli.remote.client import connected

        with connected(destination, workspace.environ) as client:
            version = client.read("/healthz").get("version")
            client.read("/runs", limit=1)
    except ServiceRefusal as refusal:
        # A key that may do something else is a key all the same.
        state = "warn" if refusal.wire_code == "forbidden" else "fail"
        yield "service", state, f"{refusal.message} {refusal.hint or ''}".strip()
        return
    except KneoError as error:
        yield "service", "fail", " ".join(part for part in (error.message, getattr(error, "hint", None)) if part)
        return
    key = f"it takes the key from {destination.key_source}" if destination.key_source else "it asks for no key"
    yield "service", "ok", f"{destination.url} ({destination.source}) is kneo-serv {version}; {key}"


def _settings() -> tuple[str, str, str]:
    from kneo_serv.platform.retention import RetentionPolicy
    from kneo_serv.settings import Settings

    try:
        Settings.from_env(os.environ)
        RetentionPolicy.from_env(os.environ)
    except SettingsError as error:
        return "settings", "fail", str(error)
    return "settings", "ok", "every KNEO_SERV_* variable has a value that can be used"


def _code(workspace: Workspace) -> tuple[str, str, str]:
    code = workspace.code
    try:
        with redirect_stdout(sys.stderr):
            code.load()
    except KneoError as error:
        return "own code", "fail", error.message
    named = [one.path for one in (*code.tools, *([code.factory] if code.factory else []))]
    return "own code", "ok", ", ".join(named) or "no tools and no factory of your own are named"


def _state(path: Path) -> tuple[str, str, str]:
    if not path.exists():
        return "state", "ok", f"{path} does not exist yet; the first run makes it"
    open_to_others = stat.S_IMODE(path.stat().st_mode) & 0o077
    if open_to_others and sys.platform != "win32":
        return "state", "warn", f"{path} can be read by others: chmod 600 {path}"
    return "state", "ok", f"{path}, {path.stat().st_size:,} bytes, for its owner only"
