"""Places in a document: a path of keys and indexes, and how people read it."""

import difflib
from collections.abc import Iterable, Mapping
from typing import Any

type Path = tuple[str | int, ...]


def show(path: Path) -> str:
    """The path as diagnostics write it: `workflow.steps[0].ref`."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += f".{part}" if text else part
    return text


def look_up(data: Any, path: Path) -> Any:
    """What stands at the path; None where nothing does."""
    for part in path:
        if isinstance(data, Mapping):
            data = data.get(part)
        elif isinstance(data, list) and not isinstance(part, str) and 0 <= part < len(data):
            data = data[part]
        else:
            return None
    return data


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word that looks most like this one, if any does."""
    found = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return found[0] if found else None


def did_you_mean(word: str, known: Iterable[str], *, otherwise: str | None = None) -> str | None:
    """The suggestion for a name that is not known: the nearest one, or else what there is."""
    names = sorted(known)
    match = nearest(word, names)
    if match is not None:
        return f"Did you mean `{match}`?"
    if otherwise is not None:
        return otherwise
    if not names:
        return None
    listed = ", ".join(f"`{name}`" for name in names[:12])
    return f"Known here: {listed}{', ...' if len(names) > 12 else ''}."
