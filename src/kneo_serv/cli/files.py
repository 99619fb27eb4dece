"""Files that are named on the command line, and what can be wrong with them."""

import sys
from difflib import get_close_matches
from pathlib import Path

from kneo_serv.errors import InvalidRequestError, KneoError


class FileError(KneoError):
    """A file that was named on the command line cannot be read or written."""

    code = "file_unusable"

    def __init__(self, message: str, *, path: str | None) -> None:
        super().__init__(message)
        self.path = path


def existing_file(path: Path) -> Path:
    """The path, if a file is there.

    Raises:
        FileError: there is none; names the nearest one beside it.
    """
    if path.is_dir():
        raise FileError(f"{path} is a folder; a file is needed.", path=str(path))
    if not path.exists():
        names = [entry.name for entry in path.parent.iterdir() if entry.is_file()] if path.parent.is_dir() else []
        near = get_close_matches(path.name, names, n=1)
        hint = f" Did you mean {path.parent / near[0]}?" if near else ""
        raise FileError(f"There is no file {path}.{hint}", path=str(path))
    return path


def text_of(path: Path) -> str:
    """What is written in a file.

    Raises:
        FileError: there is no such file, or it cannot be read.
        InvalidRequestError: it holds something else than text.
    """
    try:
        return existing_file(path).read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise InvalidRequestError(f"{path} is not text in UTF-8 (byte {error.start} does not fit).") from error


def given_text(text: str | None, path: str | None) -> str | None:
    """The text that a command line gives itself, or by naming a file (`-` is stdin); None when it gives none."""
    if path is None:
        return text
    return sys.stdin.read() if path == "-" else text_of(Path(path))


def file_error(error: OSError) -> FileError:
    """What the operating system says about a file, in words that name it."""
    if error.filename is None:
        return FileError(str(error), path=None)
    return FileError(f"{error.filename}: {error.strerror or error}", path=str(error.filename))
