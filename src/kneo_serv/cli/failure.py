"""How errors are shown: as words on stderr, or as JSON on stdout when JSON was asked for."""

from kneo_serv.cli.findings import lines_of, tally
from kneo_serv.cli.refusal import code_of
from kneo_serv.cli.terminal import fail, note, show_json
from kneo_serv.errors import KneoError

_HINTS = {
    "not_found": "`kneo runs list` and `kneo human list` show what there is in this folder.",
    "resource_locked": "Wait for the one in hand to finish, then look again with `kneo human list`.",
    "fork_consent_required": "--yes accepts them; --at names another checkpoint (see `kneo runs checkpoints`).",
    "queue_full": "Try again in a moment.",
}


def show_failure(error: KneoError, *, as_json: bool) -> None:
    """Shows an error with what may help; under `as_json` all of it as one JSON object on stdout."""
    if as_json:
        show_json({"error": {"code": code_of(error), "message": error.message, **error.facts()}})
        return
    report = getattr(error, "report", None)
    if report is None:
        fail(error.message)
    else:
        for line in lines_of(report.diagnostics):
            note(line)
        fail(f"The spec cannot be used: {tally(report.diagnostics)}")
    if hint := _hint(error):
        note(f"  {hint}")


def _hint(error: KneoError) -> str | None:
    own: str | None = getattr(error, "hint", None)
    return own or _HINTS.get(code_of(error))
