"""What differs between two checkpoints."""

from collections.abc import Iterator, Sequence
from typing import Any

from kneo_serv.errors import InvalidRequestError
from kneo_serv.platform.views.checkpoint import Checkpoint

_ABSENT: Any = object()


def checkpoint_diff(
    checkpoints: Sequence[Checkpoint],
    *,
    from_sequence: int | None = None,
    to_sequence: int | None = None,
    max_changes: int = 200,
) -> dict[str, Any]:
    """Changes of state and metadata from one checkpoint to another; from the last but one to the last by default.

    `change_count` is the true number, also where only the first `max_changes`, sorted by path, are shown.

    Raises:
        InvalidRequestError: there are fewer than two checkpoints, no checkpoint has one of the sequences, or both are
            the same.
    """
    if len(checkpoints) < 2:
        raise InvalidRequestError(f"A difference needs two checkpoints; the run has {len(checkpoints)}.")
    last = checkpoints[-1].sequence
    to_sequence = last if to_sequence is None else to_sequence
    from_sequence = max(to_sequence - 1, 1) if from_sequence is None else from_sequence
    before, after = _of(checkpoints, from_sequence), _of(checkpoints, to_sequence)
    if before is after:
        raise InvalidRequestError(f"Both sequences are {to_sequence}; a difference needs two checkpoints.")
    changes = [
        *_changes("metadata", before.metadata, after.metadata),
        *_changes("state", before.state, after.state),
    ]
    changes.sort(key=lambda change: change[0])
    shown = changes[: max(max_changes, 0)]
    return {
        "run_id": after.run_id,
        "from_checkpoint": _head(before),
        "to_checkpoint": _head(after),
        "change_count": len(changes),
        "added": [{"path": path, "value": new} for path, old, new in shown if old is _ABSENT],
        "removed": [{"path": path, "value": old} for path, old, new in shown if new is _ABSENT],
        "changed": [
            {"path": path, "before": old, "after": new}
            for path, old, new in shown
            if old is not _ABSENT and new is not _ABSENT
        ],
        "truncated": len(shown) < len(changes),
    }


def _of(checkpoints: Sequence[Checkpoint], sequence: int) -> Checkpoint:
    for checkpoint in checkpoints:
        if checkpoint.sequence == sequence:
            return checkpoint
    first, last = checkpoints[0].sequence, checkpoints[-1].sequence
    raise InvalidRequestError(f"No checkpoint has the sequence {sequence}; there are {first} to {last}.")


def _changes(path: str, before: Any, after: Any) -> Iterator[tuple[str, Any, Any]]:
    if isinstance(before, dict) and isinstance(after, dict):
        for key in before.keys() | after.keys():
            yield from _changes(f"{path}.{key}", before.get(key, _ABSENT), after.get(key, _ABSENT))
    elif isinstance(before, list) and isinstance(after, list):
        for place in range(max(len(before), len(after))):
            old = before[place] if place < len(before) else _ABSENT
            new = after[place] if place < len(after) else _ABSENT
            yield from _changes(f"{path}[{place}]", old, new)
    elif before is _ABSENT or after is _ABSENT or type(before) is not type(after) or before != after:
        yield path, before, after


def _head(checkpoint: Checkpoint) -> dict[str, Any]:
    return {
        "id": checkpoint.id,
        "sequence": checkpoint.sequence,
        "type": checkpoint.type,
        "created_at": checkpoint.created_at,
        "workflow_name": checkpoint.workflow_name,
        "step_id": checkpoint.step_id,
        "node_id": checkpoint.node_id,
    }
