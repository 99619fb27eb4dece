"""When people are reminded of a question that nobody has answered."""

import math

from kneo_serv.model.plan import OnTimeout
from kneo_serv.model.task import HumanRequest


def next_reminder(
    request: HumanRequest, *, asked_at: float, expires_at: float | None, after: float, given: int = 0
) -> float | None:
    """The first multiple of the interval strictly after this moment; None when no reminder is left.

    What came due while nobody was there is one reminder, not many. None is due once the time for an answer is over,
    unless the task stays open then.
    """
    every = request.remind_every_seconds
    if every is None or every <= 0 or given >= request.max_reminders:
        return None
    due = asked_at + every * (math.floor(max(0.0, after - asked_at) / every) + 1)
    while due <= after:
        due += every
    over = expires_at is not None and due >= expires_at and request.on_timeout is not OnTimeout.ESCALATE
    return None if over else due
