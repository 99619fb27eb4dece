"""An agent that is killed in the middle of its tools goes on with the next one."""

from pathlib import Path

import pytest

from tests.crash.life import CALLS
from tests.crash.processes import lives, remains

pytestmark = pytest.mark.crash

ANSWER = "; ".join(f"noted {number}" for number in range(1, CALLS + 1))


def test_an_agent_killed_after_its_third_tool_call_resumes_at_the_fourth(tmp_path: Path) -> None:
    # create, then each turn and each call are one write; the answer of the third call is kept by the eighth
    assert not lives(tmp_path, "talking", "after:8")
    assert remains(tmp_path).kinds[-2:] == ["tool_call_completed", "model_turn_started"]
    assert lives(tmp_path, "talking", None, "worker")
    left = remains(tmp_path)
    assert left.findings == []
    assert (left.record.status, left.record.output_text) == ("completed", ANSWER)
    assert [line.split()[0] for line in left.effects] == [f"note-{number}" for number in range(1, CALLS + 1)]


def test_an_agent_killed_inside_a_tool_repeats_this_call_and_no_other(tmp_path: Path) -> None:
    assert not lives(tmp_path, "talking", None, dies_in="note-3")
    assert lives(tmp_path, "talking", None, "continue")
    left = remains(tmp_path)
    assert left.findings == []
    assert (left.record.status, left.record.output_text) == ("completed", ANSWER)
    assert {f"note-{number}": left.count(f"note-{number}") for number in range(1, CALLS + 1)} == {
        **{f"note-{number}": 1 for number in range(1, CALLS + 1)},
        "note-3": 2,
    }
    assert len({line for line in left.effects if line.startswith("note-3 ")}) == 1


@pytest.mark.parametrize("moment", ["before", "after"])
def test_an_agent_killed_at_any_write_gives_the_same_answer(tmp_path: Path, moment: str) -> None:
    for number in range(1, 2 * CALLS + 4):
        folder = tmp_path / str(number)
        folder.mkdir()
        assert not lives(folder, "talking", f"{moment}:{number}")
        assert lives(folder, "talking", None, "worker")
        left = remains(folder)
        assert left.findings == []
        assert (left.record.status, left.record.output_text) == ("completed", ANSWER)
        assert sum(left.count(f"note-{call}") - 1 for call in range(1, CALLS + 1)) in (0, 1)
