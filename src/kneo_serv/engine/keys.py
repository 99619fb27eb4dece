"""Keys of step instances: the path of frames and visits from the root, such as `main/review#1/ask#2`.

A segment is `<step id>#<visit>`. `~<fallback id>` follows when a fallback stands in for the step, and `@<attempt>` when
a nested workflow is tried again from its beginning, so that nothing finished in an earlier try is taken for its own.
"""

from kneo_serv.model.ids import StepKey

ROOT_KEY = StepKey("main")
"""Key of the root frame."""

_MARKS = {ord(mark): f"%{ord(mark):02X}" for mark in "%/#~@"}


def step_key(frame_key: StepKey, step_id: str, visit: int = 1) -> StepKey:
    """Key of the given visit (from 1) of a step in a frame."""
    return StepKey(f"{frame_key}/{step_id.translate(_MARKS)}#{visit}")


def fallback_key(key: StepKey, fallback_id: str) -> StepKey:
    """Key under which a fallback stands in for the step of `key`."""
    return StepKey(f"{key}~{fallback_id.translate(_MARKS)}")


def nested_key(key: StepKey, attempt: int) -> StepKey:
    """Key of the frame that the step of `key` opens in this attempt."""
    return key if attempt <= 1 else StepKey(f"{key}@{attempt}")


def frame_of(key: StepKey) -> StepKey:
    """Key of the frame in which the step of `key` lives."""
    return StepKey(key.rpartition("/")[0])
