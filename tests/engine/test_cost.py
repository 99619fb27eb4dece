"""What a run costs does not grow with what lies behind it."""

import gc
import json
import time
from collections.abc import Callable
from itertools import pairwise

import pytest

from kneo_serv.engine import posture
from kneo_serv.model.codec import encode
from kneo_serv.model.plan import Plan
from kneo_serv.model.run import Phase
from tests.engine.simulation import World
from tests.engine.worlds import (
    concurrent,
    contains,
    edge,
    function,
    graph,
    group_chat,
    handoff,
    human,
    plan,
    sequential,
)

TIMES = 4
"""How much larger the large case is: linear cost grows by this much, quadratic cost by its square."""


def _seconds(whole: Plan, visits: int) -> float:
    """The best of three, since other work on the machine only ever adds."""

    def once() -> float:
        world = World(whole, {"s": "text", "loop": [*["more"] * (visits - 1), "enough"]}, checks=False)
        # What other tests have left behind would be looked through again and again, and more often in the large case.
        gc.collect()
        gc.disable()
        start = time.thread_time()
        try:
            world.go()
            took = time.thread_time() - start
        finally:
            gc.enable()
        assert world.outcome[0] == "completed"
        assert len(world.begun) >= visits
        return took

    return min(once() for _ in range(3))


def _growth(make: Callable[[int], Plan], count: int) -> float:
    """How many times longer the large case takes than the small one."""
    return _seconds(make(count), count) / _seconds(make(count // TIMES), count // TIMES)


def _sequence(count: int) -> Plan:
    return plan(sequential(*(function(f"s{place}", "s") for place in range(count))))


def _loop(count: int) -> Plan:
    return plan(graph(function("a", "loop"), edges=(edge("a", "a", contains("more")),), max_steps=count + 1))


def _branches(count: int) -> Plan:
    return plan(concurrent(*(function(f"s{place}", "s") for place in range(count))))


def test_five_thousand_steps_in_a_row_cost_in_proportion() -> None:
    assert _growth(_sequence, 5_000) < TIMES * 2.5


def test_a_thousand_turns_of_a_loop_cost_in_proportion() -> None:
    assert _growth(_loop, 1_000) < TIMES * 2.5


def _handoff(count: int) -> Plan:
    steps = [function(f"s{place}", "s") for place in range(count)]
    return plan(handoff(*steps, order=tuple(step.id for step in steps)))


def _chain(count: int) -> Plan:
    steps = [function(f"s{place}", "s") for place in range(count)]
    edges = tuple(edge(one.id, other.id) for one, other in pairwise(steps))
    return plan(graph(*steps, edges=edges, max_steps=count))


@pytest.mark.parametrize("make", [_handoff, _chain])
def test_the_next_of_many_steps_costs_at_most_a_look_at_each(make: Callable[[int], Plan]) -> None:
    assert _growth(make, 600) < TIMES * TIMES * 2.5


def test_two_hundred_branches_cost_at_most_a_look_at_all_for_each() -> None:
    assert _growth(_branches, 200) < TIMES * TIMES * 2.5
    assert _seconds(_branches(200), 200) < 3


def test_two_hundred_people_are_asked_and_answer_one_by_one() -> None:
    world = World(plan(concurrent(*(human(f"h{place}", "h") for place in range(200)))), checks=False)
    world.go()
    for place in reversed(range(200)):
        assert posture(world.run).phase is Phase.WAITING_HUMAN
        world.answer(f"h{place}")
        world.advance()
    assert world.outcome == ("completed", "in")


def _sizes(whole: Plan, script: dict[str, str]) -> list[int]:
    """How large the run is whenever something is in flight."""
    world = World(whole, script, text="text", checks=False)
    sizes = []
    world.advance()
    while world.flights:
        sizes.append(len(json.dumps(encode(world.run))))
        world.land()
        world.advance()
    return sizes


def test_a_run_does_not_grow_with_the_steps_behind_it() -> None:
    for whole in (
        _sequence(1_000),
        plan(group_chat(function("a", "s"), function("b", "s"), rounds=500)),
        plan(graph(function("a", "s"), edges=(edge("a", "a", contains("text")),), max_steps=1_000)),
    ):
        sizes = _sizes(whole, {"s": "text"})
        assert len(sizes) == 1_000
        # The numbers in it get longer; nothing else may.
        assert sizes[-1] < sizes[2] + 30
