"""What must not happen twice is not begun again by the platform: a person decides."""

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.crash.life import CALLS
from tests.crash.processes import begun, lives, remains

pytestmark = pytest.mark.crash


def test_a_once_function_that_was_killed_is_put_before_a_person_and_not_run_again(tmp_path: Path) -> None:
    assert not lives(tmp_path, "once", None, dies_in="publish")
    assert lives(tmp_path, "once", None, "worker", decision="provided")
    left = remains(tmp_path)
    assert left.findings == []
    assert left.count("publish") == 1
    assert "human_asked" in left.kinds
    assert (left.record.status, left.record.output_text) == ("completed", "what the reviewer saw")


def test_a_once_function_is_run_again_when_the_person_says_that_it_did_not_happen(tmp_path: Path) -> None:
    # Killed right after its start was journaled: nothing happened, but nobody can know.
    assert not lives(tmp_path, "once", "after:3")
    assert lives(tmp_path, "once", None, "worker", decision="approved")
    left = remains(tmp_path)
    assert left.findings == []
    assert left.count("publish") == 1
    assert (left.record.status, left.record.output_text) == ("completed", "the report, drawn up, published")


def test_a_once_function_that_the_person_gives_up_fails_the_run(tmp_path: Path) -> None:
    assert not lives(tmp_path, "once", None, dies_in="publish")
    assert lives(tmp_path, "once", None, "worker", decision="rejected")
    left = remains(tmp_path)
    assert left.findings == []
    assert (left.record.status, left.record.error_type) == ("failed", "effect_uncertain")
    assert left.count("publish") == 1


def test_a_once_tool_is_begun_at_most_once_whatever_write_the_process_dies_at(tmp_path: Path) -> None:
    for number in range(1, 2 * CALLS + 4, 2):
        folder = tmp_path / str(number)
        folder.mkdir()
        assert not lives(folder, "paying", f"after:{number}")
        # The person says what became of the call in doubt, so that nothing is called again.
        assert lives(folder, "paying", None, "worker", decision="provided")
        left = remains(folder)
        assert left.findings == []
        assert left.record.status == "completed"
        assert all(left.count(f"pay-{call}") <= 1 for call in range(1, CALLS + 1))


def test_a_once_tool_that_was_killed_within_is_called_again_only_when_a_person_says_so(tmp_path: Path) -> None:
    assert not lives(tmp_path, "paying", None, dies_in="pay-4")
    assert lives(tmp_path, "paying", None, "worker", decision="approved")
    left = remains(tmp_path)
    assert left.findings == []
    assert left.kinds.count("human_asked") == 1
    assert {call: left.count(f"pay-{call}") for call in range(1, CALLS + 1)} == {
        **dict.fromkeys(range(1, CALLS + 1), 1),
        4: 2,
    }


def test_a_stopped_worker_that_wakes_late_does_not_begin_a_once_tool(tmp_path: Path) -> None:
    with begun(tmp_path, "crowded", lease_seconds=0.6) as sleeper:
        # Both calls are journaled as begun, but the only thread is held: the payment waits for it.
        assert _soon(lambda: (tmp_path / "effects").exists())
        assert sleeper.pid is not None
        os.kill(sleeper.pid, signal.SIGSTOP)
        (tmp_path / "released").touch()
        assert lives(tmp_path, "crowded", None, "worker", decision="provided", lease_seconds=0.6)
        os.kill(sleeper.pid, signal.SIGCONT)
        sleeper.join(20)
        assert sleeper.exitcode is not None
    left = remains(tmp_path)
    assert left.findings == []
    assert left.kinds.count("human_asked") == 1
    assert left.count("pay-1") == 0
    assert (left.record.status, left.record.output_text) == ("completed", "let go; what the reviewer saw")


def _soon(holds: Callable[[], bool]) -> bool:
    end = time.monotonic() + 20
    while not holds() and time.monotonic() < end:
        time.sleep(0.01)
    return holds()
