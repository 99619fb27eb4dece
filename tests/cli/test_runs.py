import pytest

from tests.cli.shell import Shell


@pytest.mark.parametrize("verb", ["get", "trace", "checkpoints", "replay", "checkpoint-diff", "cancel", "continue"])
def test_an_unknown_run_is_named_and_nothing_is_left_behind(kneo: Shell, verb: str) -> None:
    told = kneo("runs", verb, "run_nope")
    assert (told.exit_code, told.stdout) == (1, "")
    assert "✗ Unknown run: run_nope\n" in told.stderr
    shown = kneo("runs", verb, "run_nope", "--json")
    assert (shown.exit_code, shown.stderr) == (1, "")
    error = shown.json["error"]
    assert error == {"code": "not_found", "message": "Unknown run: run_nope", "kind": "run", "name": "run_nope"}
    assert not (kneo.folder / ".kneo").exists()


def test_a_folder_without_runs_has_an_empty_list(kneo: Shell) -> None:
    assert kneo("runs", "list", "--json").json == {"runs": [], "count": 0, "total": 0, "limit": 20, "offset": 0}
    assert kneo("runs", "list").stderr == "✓ 0 of 0 runs.\n"
    assert kneo("human", "list", "--json").json == {"tasks": [], "count": 0}
    assert not (kneo.folder / ".kneo").exists()
