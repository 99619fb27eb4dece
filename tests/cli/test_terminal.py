import json

import pytest

from kneo_serv.cli.terminal import printable, show, show_facts, show_json, show_rows


def test_square_brackets_are_text_and_no_markup(capsys: pytest.CaptureFixture[str]) -> None:
    show("[compressed] [bold]all[/bold]")
    show_facts([("question", "[red]?")])
    assert capsys.readouterr().out == "[compressed] [bold]all[/bold]\nquestion  [red]?\n"


def test_json_keeps_letters_of_all_languages(capsys: pytest.CaptureFixture[str]) -> None:
    show_json({"text": "Grüße 東京"})
    assert capsys.readouterr().out == '{\n  "text": "Grüße 東京"\n}\n'


def test_half_a_letter_still_makes_valid_json(capsys: pytest.CaptureFixture[str]) -> None:
    show_json({"text": "\ud83d"})
    assert json.loads(capsys.readouterr().out) == {"text": "\ud83d"}


def test_columns_are_as_wide_as_their_longest_cell_also_in_wide_letters(capsys: pytest.CaptureFixture[str]) -> None:
    show_rows(("A", "B"), [("東京", "one\ntwo"), ("x", None)])
    assert capsys.readouterr().out == "A     B\n東京  one two\nx     -\n"


def test_facts_without_a_value_are_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    show_facts([("a", None), ("long", "1"), ("b", 0)])
    assert capsys.readouterr().out == "long  1\nb     0\n"


def test_control_characters_are_made_visible() -> None:
    assert printable("a\x1b[2Jb\nc\td\x00\u202e") == "a\\x1b[2Jb\nc\td\\x00\\u202e"
