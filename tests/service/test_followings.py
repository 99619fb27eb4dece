"""What a stream of one run tells of pieces of text, to who hears them first and to who comes back."""

from kneo_serv.model.ids import StepKey
from kneo_serv.platform.speech import TextDelta
from kneo_serv.service.followings import RunFollowing
from kneo_serv.testing.store_suite.samples import record
from tests.service.listening import heard

RUN = record("1")


def pieces(following: RunFollowing) -> list[tuple[str, bool]]:
    told = []
    for turn, text, void in ((1, "Tea ", False), (1, "is", False), (2, "Milk", False), (2, "", True)):
        delta = TextDelta(RUN.id, StepKey("main/a#1"), "a", turn, text, void)
        (event,) = heard(following.told(delta).decode())
        assert (event.name, event.id, event.data["type"]) == ("text_delta", None, "text_delta")
        told.append((event.data["text"], event.data["void"]))
    return told


def test_who_comes_back_is_told_that_a_turn_begins_anew() -> None:
    assert pieces(RunFollowing(RUN)) == [("Tea ", False), ("is", False), ("Milk", False), ("", True)]
    for after in ((4, 0), (0, 1)):
        assert pieces(RunFollowing(RUN, after=after)) == [("Tea ", True), ("is", False), ("Milk", True), ("", True)]
