import json

import pytest

from kneo_serv.engine.speakers import named, question
from kneo_serv.model.ids import StepKey
from kneo_serv.model.plan import Flow, FlowType, Step, StepKind
from kneo_serv.model.run import Frame

CHAT = Flow("chat", FlowType.GROUP_CHAT, tuple(Step(name, StepKind.AGENT, name) for name in ("ann", "anna", "bob")))


def frame(last: str | None = None) -> Frame:
    return Frame("chat", StepKey("main"), "so far", index=2, last=last)


@pytest.mark.parametrize(
    ("reply", "speaker"),
    [
        ("bob", "bob"),
        (" Anna \n", "anna"),
        ("Let bob speak, then ann.", "bob"),
        ("It is anna's turn", "anna"),
        ("ann-marie or bobby", "ann"),
        ("nobody", "ann"),
        (None, "ann"),
    ],
)
def test_a_reply_names_a_participant_or_the_rotation_goes_on(reply: str | None, speaker: str) -> None:
    assert named(CHAT, frame(), reply) == speaker


def test_the_rotation_goes_on_behind_the_last_speaker() -> None:
    assert [named(CHAT, frame(last), "?") for last in ("ann", "anna", "bob")] == ["anna", "bob", "ann"]


def test_the_speaker_agent_is_told_the_text_who_there_is_and_the_turn() -> None:
    assert json.loads(question(CHAT, frame())) == {
        "text": "so far",
        "participants": ["ann", "anna", "bob"],
        "turn": 3,
    }
