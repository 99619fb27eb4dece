"""What was shown of a run is shown again only while the run has not moved."""

from kneo_serv.model.ids import PlanHash, RunId
from kneo_serv.model.quick import replace
from kneo_serv.model.run import Phase, RunRecord, RunStatus
from kneo_serv.service.shown_runs import ShownRuns

RUN = RunRecord(RunId("run_a"), RunStatus.RUNNING, Phase.LEASED, 4, PlanHash("p"), "workflow", "tea", 1.0, 2.0)


def test_a_run_that_has_not_moved_is_shown_as_before() -> None:
    shown = ShownRuns()
    assert shown.get(RUN) is None
    shown.put(RUN, b"{}")
    assert shown.get(RUN) == b"{}"


def test_a_run_that_has_moved_is_another_one() -> None:
    shown = ShownRuns()
    shown.put(RUN, b"{}")
    assert shown.get(replace(RUN, seq=5)) is None
    assert shown.get(replace(RUN, phase=Phase.PARKED)) is None
    assert shown.get(replace(RUN, id=RunId("run_b"))) is None


def test_those_for_which_nobody_asks_are_let_go_first() -> None:
    shown = ShownRuns(most=2)
    runs = [replace(RUN, id=RunId(f"run_{number}")) for number in range(3)]
    shown.put(runs[0], b"0")
    shown.put(runs[1], b"1")
    shown.get(runs[0])
    shown.put(runs[2], b"2")
    assert [shown.get(run) for run in runs] == [b"0", None, b"2"]


def test_what_is_kept_has_a_size() -> None:
    shown = ShownRuns(size=10)
    shown.put(RUN, b"123456")
    other = replace(RUN, seq=5)
    shown.put(other, b"123456")
    assert (shown.get(RUN), shown.get(other)) == (None, b"123456")
