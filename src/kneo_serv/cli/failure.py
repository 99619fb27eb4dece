"""How errors are shown: as words on stderr, or as JSON on stdout when JSON was asked for."""

from typing import Any

from kneo_serv.cli.terminal import fail, note, show_json
from kneo_serv.errors import KneoError

_HINTS = {
    "not_found": "`kneo runs list` and `kneo human list` show what there is in this folder.",
    "resource_locked": "Wait for the one in hand to finish, then look again with `kneo human list`.",
    "queue_full": "Try again in a moment.",
}


class FileError(KneoError):
    """A file that was named on the command line cannot be read or written."""

    code = "file_unusable"

    def __init__(self, message: str, *, path: str) -> None:
        super().__init__(message)
        self.path = path


def show_failure(error: KneoError, *, as_json: bool) -> None:
    """Shows an error with what may help; under `as_json` all of it as one JSON object on stdout."""
    if as_json:
        show_json({"error": {"code": error.code, "message": error.message, **facts_of(error)}})
        return
    fail(error.message)
    if hint := _HINTS.get(error.code):
        note(f"  {hint}")


def facts_of(error: KneoError) -> dict[str, Any]:
    """The typed facts of an error; a report of the compiler is given as its list of diagnostics."""
    facts = error.facts()
    report = facts.pop("report", None)
    if report is not None:
        facts["diagnostics"] = report.to_dict_list()
    return facts


def file_error(error: OSError) -> FileError:
    """What the operating system says about a file, in words that name it."""
    path = str(error.filename)
    if isinstance(error, IsADirectoryError):
        return FileError(f"{path} is a folder; a file is needed.", path=path)
    if isinstance(error, FileNotFoundError):
        return FileError(f"There is no file {path}.", path=path)
    return FileError(f"{path}: {error.strerror or error}", path=path)
