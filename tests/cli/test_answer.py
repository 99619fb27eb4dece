import pytest
import typer

from kneo_serv.cli.answer import answer_of, give
from kneo_serv.model.ids import ContinuationId, RunId
from kneo_serv.model.run import RunError, RunResult

RUN = RunId("run_1")
PAUSED = RunResult(
    run_id=RUN,
    status="paused",
    continuation_id=ContinuationId("cont_1"),
    metadata={
        "pending_human_request": {"request_id": "req_1", "prompt": "Which [colour]?"},
        "request": {
            "id": "req_1",
            "type": "selection",
            "prompt": "Which [colour]?",
            "options": ["blue", "it's red"],
            "context": {"input_text": "[compressed] paint it", "sum": 3},
        },
    },
)


def shown(result: RunResult, capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    with pytest.raises(typer.Exit) as left:
        give(answer_of(result), as_json=False)
    told = capsys.readouterr()
    return left.value.exit_code, told.out, told.err


def test_the_json_of_a_paused_run_holds_what_an_answer_needs() -> None:
    assert answer_of(PAUSED) == {
        "run_id": "run_1",
        "status": "paused",
        "output_text": None,
        "human_intervention_required": True,
        "continuation_id": "cont_1",
        "metadata": PAUSED.metadata,
    }


def test_an_output_is_alone_on_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    result = RunResult(run_id=RUN, status="completed", output_text="[b]done[/b]")
    assert shown(result, capsys) == (0, "[b]done[/b]\n", "✓ Run run_1 completed.\n")


def test_a_pause_shows_the_question_and_the_commands_that_answer_it(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = shown(PAUSED, capsys)
    assert code == 0
    assert err == "⚠ Run run_1 waits for a person.\n"
    assert "continuation  cont_1\n" in out
    assert "request       req_1\n" in out
    assert "question      Which [colour]?\n" in out
    assert "sum           3\n" in out
    assert "\n[compressed] paint it\n" in out
    assert "  kneo human resume cont_1 --request-id req_1 --select blue\n" in out
    assert """--select 'it'"'"'s red'\n""" in out
    assert "--reject\n" in out
    assert "--approve" not in out


@pytest.mark.parametrize(
    ("status", "words", "code"),
    [
        ("failed", "failed: disk full", 3),
        ("cancelled", "cancelled: disk full", 4),
        ("timed_out", "timed out: disk full", 5),
        ("expired", "expired: disk full", 6),
    ],
)
def test_a_bad_end_is_told_on_stderr_with_its_reason(
    status: str, words: str, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    result = RunResult(run_id=RUN, status=status, error=RunError("OSError", "disk full"))
    left, out, err = shown(result, capsys)
    assert (left, out) == (code, "")
    assert f"✗ Run run_1 {words}\n" in err
    assert ("kneo runs continue run_1" in err) == (status == "failed")
    assert answer_of(result)["error"] == {"type": "OSError", "message": "disk full"}
