"""What must not happen twice is not begun again by the platform: a person decides."""

from pathlib import Path

import pytest

from tests.crash.processes import lives, remains

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
