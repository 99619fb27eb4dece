"""A fork may begin behind any event of any workflow, and comes to where an undisturbed run comes."""

from collections import defaultdict
from random import Random

import pytest
from hypothesis import HealthCheck, given, reject, settings
from hypothesis import strategies as st

from kneo_serv.engine import evolve, find, open_tasks
from kneo_serv.engine.forks import input_place
from kneo_serv.model import event as ev
from kneo_serv.model.ids import PlanHash, RunId, StepKey
from kneo_serv.model.plan import ROOT, Flow, FlowType, Plan, Step, StepKind
from kneo_serv.model.run import Run, RunStatus, StepPhase
from kneo_serv.model.task import Decision
from tests.engine.oracle import Nature, RunOracle, Temper, TooMuchError
from tests.engine.simulation import Choice, World, first
from tests.engine.test_generated import TEXT, Author, behaviour
from tests.engine.worlds import function, mapped, plan, sequential, workflow


def to_the_end(world: World, choose: Choice = first) -> World:
    """All people approve."""
    world.go(choose)
    while asked := open_tasks(world.run):
        world.answer_task(asked[choose(len(asked))], Decision.APPROVED)
        world.go(choose)
    return world


def forked(parent: World, seq: int, *, text: str | None = None, key: StepKey | None = None) -> World:
    """A fork behind this event of its parent, whose journal is only read."""
    child = World(parent.plan, parent.script, checks=False)
    child.journal = list(parent.journal[:seq])
    child.run = Run(RunId("fork"))
    for recorded in child.journal:
        child.run = evolve(child.plan, child.run, recorded)
    hash_ = PlanHash(parent.plan.hash)
    child.add(ev.RunForked(RunId("run"), seq, 1, hash_, input_text=text, input_key=key, deadline_at=9.0))
    child.leg()
    return child


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.integers(0, 2**32))
def test_a_fork_behind_any_event_comes_to_the_same_end(seed: int) -> None:
    rng = Random(seed)
    whole = Author(rng).plan()
    try:
        expected = RunOracle(whole, Nature(defaultdict(Temper)), TEXT).outcome()
    except TooMuchError:
        reject()
    parent = to_the_end(World(whole, behaviour(Nature(defaultdict(Temper))), TEXT), rng.randrange)
    assert parent.outcome == expected
    journal = list(parent.journal)
    alive = [run.seq for run in parent.runs if not run.status.is_terminal]
    for seq in rng.sample(alive, min(6, len(alive))):
        child = to_the_end(forked(parent, seq), rng.randrange)
        assert child.outcome == parent.outcome, seq
        kept = {recorded.event.key for recorded in journal[:seq] if isinstance(recorded.event, ev.StepCompleted)}
        later = (recorded.event for recorded in child.journal[seq:])
        assert not kept & {event.key for event in later if isinstance(event, ev.StepStarted | ev.HumanAsked)}
    assert parent.journal == journal


def pair(kind: FlowType = FlowType.CONCURRENT) -> Plan:
    steps = (Step("f", StepKind.FUNCTION, "f"), Step("g", StepKind.FUNCTION, "g"))
    return plan(Flow("flow", kind, steps))


def test_what_was_in_flight_is_in_no_doubt() -> None:
    parent = World(pair())
    parent.advance()
    child = forked(parent, parent.run.seq)
    assert child.run.frame is not None
    assert [(state.phase, state.uncertain) for state in child.run.frame.live.values()] == [(StepPhase.READY, False)] * 2
    parent.interrupt()
    doubted = forked(parent, parent.run.seq)
    assert doubted.run.frame is not None
    assert all(state.uncertain for state in doubted.run.frame.live.values())


def test_a_text_goes_to_the_one_place_where_text_flows() -> None:
    parent = World(pair(FlowType.SEQUENTIAL))
    whole = parent.plan
    parent.advance()
    running = parent.run
    assert running.frame is not None
    assert input_place(whole, running.frame) == "main/f#1"
    child = forked(parent, running.seq, text="new", key=StepKey("main/f#1"))
    state = find(child.run.frame, StepKey("main/f#1"))
    assert state is not None
    assert state.input_text == "new"
    assert child.run.input_text == "in"
    assert to_the_end(child).run.output_text == "new>f>g"


def test_no_single_text_flows_between_branches_at_work() -> None:
    parent = World(pair())
    assert parent.run.frame is not None
    assert input_place(parent.plan, parent.run.frame) == "main"
    parent.advance()
    assert input_place(parent.plan, parent.run.frame) is None
    parent.land()
    assert input_place(parent.plan, parent.run.frame) == "main/g#1"
    parent.land()
    assert input_place(parent.plan, parent.run.frame) is None


@pytest.mark.parametrize(("over", "output"), [(None, '["x>f","y>f"]'), ("[input, text]", '["1\\n2>f","x\\ny>f"]')])
def test_a_list_that_nobody_began_with_is_read_anew_from_another_text(over: str | None, output: str) -> None:
    whole = plan(sequential(workflow("m", f"{ROOT}/m")), flows={f"{ROOT}/m": mapped(function("f"), over=over)})
    parent = World(whole, text="1\n2")
    parent.advance()
    opened = next(recorded.seq for recorded in parent.journal if isinstance(recorded.event, ev.StepStarted))
    frame = parent.runs[opened - 1].frame
    assert frame is not None
    key = input_place(whole, frame)
    assert key == "main/m#1"
    child = to_the_end(forked(parent, opened, text="x\ny", key=key))
    assert child.outcome == ("completed", output)
    assert to_the_end(parent).outcome != child.outcome


def test_an_input_before_the_first_step_is_the_input_of_the_run() -> None:
    parent = World(pair(FlowType.SEQUENTIAL))
    child = forked(parent, 1, text="new", key=StepKey("main"))
    assert child.run.input_text == "new"
    assert to_the_end(child).run.output_text == "new>f>g"


def test_clocks_and_counters_begin_with_the_fork() -> None:
    parent = to_the_end(World(pair(FlowType.SEQUENTIAL)))
    cut = max(run.seq for run in parent.runs if run.status is RunStatus.RUNNING)
    child = World(parent.plan, checks=False)
    child.run = parent.runs[cut - 1]
    child.add(ev.RunForked(RunId("run"), cut, 1, PlanHash("other"), deadline_at=9.0))
    assert (child.run.started_at, child.run.deadline_at, child.run.fence) == (None, 9.0, 0)
    assert (child.run.plan_hash, child.run.usage.total_tokens) == ("other", 0)
