import pytest

from tests.cli.shell import Shell


def test_a_run_needs_exactly_one_input(kneo: Shell) -> None:
    assert "--input" in kneo.usage_error(["run", "a.yaml"])
    assert "exactly one" in kneo.usage_error(["run", "a.yaml", "--input", "x", "--input-file", "y"])


def test_a_run_has_only_two_targets(kneo: Shell) -> None:
    message = kneo.usage_error(["run", "a.yaml", "--input", "x", "--target", "everything"])
    assert "agent" in message
    assert "workflow" in message


def test_the_time_of_a_run_is_positive(kneo: Shell) -> None:
    assert "above 0" in kneo.usage_error(["run", "a.yaml", "--input", "x", "--timeout", "0"])


@pytest.mark.parametrize("decisions", [[], ["--approve", "--reject"], ["--approve", "--edit", ""]])
def test_a_question_takes_exactly_one_decision(kneo: Shell, decisions: list[str]) -> None:
    message = kneo.usage_error(["human", "resume", "cont_1", "--request-id", "req_1", *decisions])
    assert "exactly one" in message


def test_an_answer_names_its_request(kneo: Shell) -> None:
    assert "--request-id" in kneo.usage_error(["human", "resume", "cont_1", "--approve"])


def test_a_comment_goes_with_a_yes_or_a_no_only(kneo: Shell) -> None:
    words = ["human", "resume", "cont_1", "--request-id", "req_1", "--edit", "x", "--comment", "y"]
    assert "--comment" in kneo.usage_error(words)


def test_a_list_knows_only_real_statuses(kneo: Shell) -> None:
    assert "timed_out" in kneo.usage_error(["runs", "list", "--status", "done"])


def test_an_input_file_that_is_missing_is_named(kneo: Shell) -> None:
    told = kneo("run", "a.yaml", "--input-file", "missing.txt")
    assert (told.exit_code, told.stdout) == (1, "")
    assert "There is no file missing.txt" in told.stderr
    shown = kneo("run", "a.yaml", "--input-file", "missing.txt", "--json")
    assert (shown.exit_code, shown.stderr) == (1, "")
    assert shown.json["error"]["code"] == "file_unusable"
    assert shown.json["error"]["path"] == "missing.txt"


def test_an_input_file_is_text(kneo: Shell) -> None:
    (kneo.folder / "data.bin").write_bytes(b"ab\xff")
    told = kneo("run", "a.yaml", "--input-file", "data.bin")
    assert told.exit_code == 1
    assert "data.bin is not text in UTF-8 (byte 2" in told.stderr


def test_a_folder_is_no_input_file(kneo: Shell) -> None:
    assert "is a folder" in kneo("run", "a.yaml", "--input-file", ".").stderr
