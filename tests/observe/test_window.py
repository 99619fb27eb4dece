"""A text that comes in pieces is let out without secrets, wherever it was cut."""

import time
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kneo_serv.observe import redact_text
from kneo_serv.observe.window import RedactionWindow
from tests.observe.test_redaction import PLAIN, SECRETS

FRAGMENTS = [
    *SECRETS, *PLAIN, *(word for text in SECRETS for word in text.split(" ")),
    " ", " ", " ", "\n", "\t", "=", ":", '"', "'", "\\", "\\\"", "@", "-", ".", ",", "/", "://", "{", "}", "[", "]",
    "api", "key", "token", "Token", "secret", "password", "Cookie", "Digest", "Bearer", "Basic", "a@b", "sk-", "eyJ",
    "123-45-6789", "-----BEGIN ", "PRIVATE KEY-----", "-----END ", "-----", "東京", "秘密。", "é", "the", "word", "12",
]  # fmt: skip
TEXTS = st.lists(st.sampled_from(FRAGMENTS), max_size=12).map("".join)


def let_out(text: str, cuts: list[int]) -> list[str]:
    """What comes out when the text comes in cut at these places, and at its end."""
    window = RedactionWindow()
    places = [0, *sorted(cut % (len(text) + 1) for cut in cuts), len(text)]
    pieces = [text[start:end] for start, end in pairwise(places)]
    return [*map(window.push, pieces), window.finish()]


@given(TEXTS, st.lists(st.integers(0, 10_000), max_size=8))
@settings(max_examples=500, deadline=None)
def test_the_pieces_make_together_what_the_whole_would_be(text: str, cuts: list[int]) -> None:
    assert "".join(let_out(text, cuts)) == redact_text(text)


@given(TEXTS)
@settings(max_examples=100, deadline=None)
def test_a_text_may_come_letter_by_letter(text: str) -> None:
    assert "".join(let_out(text, list(range(len(text))))) == redact_text(text)


def test_an_ordinary_text_flows_word_by_word() -> None:
    window = RedactionWindow()
    assert [window.push(piece) for piece in ("The", " capital", " of France", " is Paris. And")] == [
        "", "The ", "capital of ", "France is Paris. ",
    ]  # fmt: skip
    assert window.finish() == "And"


def test_a_text_without_blanks_between_its_words_flows_too() -> None:
    window = RedactionWindow()
    shown = "".join(window.push("東京は日本の首都です") for _ in range(100))
    assert len(shown) > 900
    assert shown + window.finish() == "東京は日本の首都です" * 100


@pytest.mark.parametrize(
    ("pieces", "shown"),
    [
        (["my key is s", "k-abcdef", "123456", " and"], "my key is "),
        (["password", ' = "two', " words", '" is'], ""),
        (["Authorization:", " Bearer", " abc", ".def"], ""),
        (["Cookie: a=b;", " c=d", " e"], ""),
        (["-----BEGIN RSA PRI", "VATE KEY-----\nMIIE\n", "abc\n-----EN", "D RSA"], ""),
        (["mail ann", "@example", ".com"], "mail "),
    ],
)
def test_what_may_be_the_beginning_of_a_secret_waits(pieces: list[str], shown: str) -> None:
    window = RedactionWindow()
    early = [window.push(piece) for piece in pieces[:-1]]
    assert "".join(early) == shown
    assert window.push(pieces[-1]) + window.finish() == redact_text("".join(pieces))[len(shown) :]


def test_json_waits_for_its_end_since_a_key_may_call_everything_in_it_a_secret() -> None:
    text = '{"note": "all is well", "credentials": ["hunter two"]}'
    *pieces, last = let_out(text, list(range(len(text))))
    assert not any(pieces)
    assert last == redact_text(text)
    assert "hunter" not in last


@pytest.mark.parametrize("text", ["[1] says that tea is a drink of leaves.", "{name} is a placeholder in many texts."])
def test_a_text_that_only_begins_like_json_flows_once_that_is_clear(text: str) -> None:
    *pieces, last = let_out(text, list(range(len(text))))
    assert "".join([*pieces, last]) == text
    assert len(last) < len(text) // 2


def test_a_window_is_ready_for_the_next_text_when_one_has_ended() -> None:
    window = RedactionWindow()
    assert window.push("a b") + window.finish() == "a b"
    assert window.push('{"password":') == ""
    assert window.finish() == redact_text('{"password":')


@pytest.mark.parametrize(
    "part", ["word ", "a", "password ", "Cookie:", 'token="', "://a", "@", "東", "[", "-----BEGIN "]
)
def test_the_time_grows_with_the_text_and_no_faster(part: str) -> None:
    text = (part * 200_000)[:200_000]
    began = time.monotonic()
    window = RedactionWindow()
    shown = window.push(text) + window.finish()
    assert time.monotonic() - began < 5
    assert shown == redact_text(text)
