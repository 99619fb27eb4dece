"""A run is killed at every write of its life, and always ends as if nothing had happened."""

from collections import Counter
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from tests.crash.processes import Remains, lives, remains

pytestmark = pytest.mark.crash

STEPS = ("draw_up", "check", "publish")
OUTPUT = "the report, drawn up, checked, published"


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Remains:
    folder = tmp_path_factory.mktemp("undisturbed")
    assert lives(folder, "pausing", None)
    return remains(folder)


def points(root: Path, moment: str) -> Iterator[tuple[str, Path]]:
    for number in count(1):
        folder = root / f"{moment}-{number}"
        folder.mkdir()
        yield f"{moment}:{number}", folder


def assert_same_end(left: Remains, undisturbed: Remains, *, kills: int = 1) -> None:
    assert left.findings == []
    assert (left.record.status, left.record.output_text) == ("completed", OUTPUT)
    assert left.story == undisturbed.story
    repeated = Counter(left.kinds)["step_started"] - Counter(undisturbed.kinds)["step_started"]
    assert 0 <= repeated <= kills
    extra = {step: left.count(step) - 1 for step in STEPS}
    assert all(more >= 0 for more in extra.values())
    # A step is begun again only when its own attempt was in flight.
    assert sum(extra.values()) <= repeated


@pytest.mark.parametrize("way", ["worker", "continue", "begin"])
@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_run_killed_at_any_write_ends_as_an_undisturbed_one(
    tmp_path: Path, undisturbed: Remains, moment: str, way: str
) -> None:
    killed = 0
    for point, folder in points(tmp_path, moment):
        if lives(folder, "pausing", point):
            break
        killed += 1
        assert lives(folder, "pausing", None, way), point
        assert_same_end(remains(folder), undisturbed)
    # create; two steps; the pause; the answer; its claim; the last step; the end
    assert killed == 8


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_run_whose_rescuer_is_killed_as_well_ends_the_same(tmp_path: Path, undisturbed: Remains, moment: str) -> None:
    for point, folder in points(tmp_path, moment):
        assert not lives(folder, "pausing", "after:2")
        if lives(folder, "pausing", point, "worker"):
            break
        assert lives(folder, "pausing", None, "worker"), point
        assert_same_end(remains(folder), undisturbed, kills=2)


def test_a_step_that_is_killed_in_the_middle_of_its_effect_is_begun_again(tmp_path: Path, undisturbed: Remains) -> None:
    assert not lives(tmp_path, "pausing", None, dies_in="check")
    assert lives(tmp_path, "pausing", None, "worker")
    left = remains(tmp_path)
    assert_same_end(left, undisturbed)
    assert {step: left.count(step) for step in STEPS} == {"draw_up": 1, "check": 2, "publish": 1}
    keys = [line.split()[1] for line in left.effects if line.startswith("check ")]
    assert keys[0] == keys[1]  # what the service that is called can tell a repetition by
