"""Who speaks next in a group chat that has an agent for that question."""

import json
import re

from kneo_serv.model.plan import Flow
from kneo_serv.model.run import Frame


def question(flow: Flow, frame: Frame) -> str:
    """What the agent is asked: the text so far, who there is, and the number of the coming turn."""
    asked = {"text": frame.text, "participants": [step.id for step in flow.steps], "turn": frame.index + 1}
    return json.dumps(asked, ensure_ascii=False, separators=(",", ":"))


def named(flow: Flow, frame: Frame, reply: str | None) -> str:
    """The participant whom a reply names; when it names nobody, who is next after the last speaker."""
    ids = [step.id for step in flow.steps]
    found = _found(ids, reply) if reply is not None else None
    if found is not None:
        return found
    return ids[(ids.index(frame.last) + 1) % len(ids)] if frame.last in ids else ids[0]


def _found(ids: list[str], reply: str) -> str | None:
    plain = reply.strip().casefold()
    for step_id in ids:
        if step_id.casefold() == plain:
            return step_id
    places = [(match.start(), -len(step_id), step_id) for step_id in ids if (match := _pattern(step_id).search(reply))]
    return min(places)[2] if places else None


def _pattern(step_id: str) -> re.Pattern[str]:
    return re.compile(rf"(?<![\w-]){re.escape(step_id)}(?![\w-])", re.IGNORECASE)
