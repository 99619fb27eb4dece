"""Paths that callers hand in must stay in one folder."""

from pathlib import Path as FilePath

from kneo_serv.errors import SpecPathConfinementError


def confine_spec_path(path: str | FilePath, root: str | FilePath) -> FilePath:
    """The path with links resolved, when it lies in `root`; relative paths start from `root`.

    Raises:
        SpecPathConfinementError: the path leads out of `root`, or cannot be resolved.
    """
    text = str(path)
    try:
        folder = FilePath(root).resolve()
        found = (folder / FilePath(text)).resolve()
    except (OSError, RuntimeError, ValueError):
        raise SpecPathConfinementError("The path cannot be resolved.") from None
    if text.startswith("~") or not found.is_relative_to(folder):
        raise SpecPathConfinementError(
            f"`{_shown(text)}` leads out of the folder for specs; use a path inside it, or set KNEO_SERV_SPEC_ROOT."
        )
    return found


def _shown(text: str) -> str:
    # The folder names of the machine are nobody's business who calls from outside.
    return text if len(text) <= 200 and not FilePath(text).is_absolute() else FilePath(text).name[:200]
