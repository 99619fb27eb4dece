"""Server-sent events as text: whatever stands in them, they are read as they were meant."""

from hypothesis import given
from hypothesis import strategies as st

from kneo_serv.service import sse
from tests.service.listening import Heard, heard


@given(st.text())
def test_no_text_can_end_its_field_and_begin_another_one(text: str) -> None:
    (event,) = heard(sse.event({"text": text}, name="told", id="7", retry=5).decode())
    assert event == Heard("told", {"text": text}, "7", 5)


def test_names_and_ids_stay_in_their_line() -> None:
    evil = "a\nevent: forged\r\nid: 9\rdata: x\n\n: y\0"
    (event,) = heard(sse.event({}, name=evil, id=evil).decode())
    assert (event.name, event.id) == (" ".join(["a", "event: forged", "", "id: 9", "data: x", "", ": y"]),) * 2
    assert heard(sse.heartbeat(evil).decode())[0].id == event.id


def test_data_of_several_lines_stays_data() -> None:
    told = sse.block("a\nevent: forged\r\nid: 9\rdata: x\n\n: y").decode()
    assert told == "data: a\ndata: event: forged\ndata: id: 9\ndata: data: x\ndata: \ndata: : y\n\n"


def test_half_of_a_character_does_not_end_the_stream() -> None:
    assert sse.event({"text": "\ud800"}, name="x") == b'event: x\ndata: {"text":"?"}\n\n'


def test_a_sign_of_life_may_say_what_is_known() -> None:
    assert sse.heartbeat(None) == b": alive\n\n"
    assert sse.heartbeat("12") == b": alive\nid: 12\n\n"
    assert sse.opening(2000) == b"retry: 2000\n\n"
