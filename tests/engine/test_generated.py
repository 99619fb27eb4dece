"""Any workflow, with outcomes, answers and crashes in any order, comes to what plain recursion says."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from random import Random

from hypothesis import HealthCheck, given, reject, settings
from hypothesis import strategies as st

from kneo_serv.engine import CallFunction, CallTool, Effect, RunAgentTurn, open_tasks
from kneo_serv.model import event as ev
from kneo_serv.model.message import Role
from kneo_serv.model.plan import (
    ROOT,
    AgentPlan,
    Aggregation,
    Condition,
    Edge,
    Flow,
    FlowType,
    FunctionPlan,
    HumanPlan,
    OnError,
    OnReject,
    Plan,
    Step,
    StepKind,
    Strategy,
    StrategyType,
    Variable,
)
from kneo_serv.model.run import Phase, RunStatus
from kneo_serv.model.task import Decision
from kneo_serv.model.tool import Effect as Kind
from tests.engine.oracle import Nature, RunOracle, Temper, TooMuchError, said
from tests.engine.simulation import World
from tests.engine.worlds import Answer, Fails, Says, plan

_TYPES = list(FlowType)
_CONTINUES = 3
TEXT = "in\nto"
"""What every run begins with: two lines, which are a list of two items."""


@dataclass(slots=True)
class Author:
    """Writes workflows at random. Every step has a name of its own, so that its leaves behave as it says.

    Where people are asked beside other branches, nothing fails for good: whether a person is faster than a failure is
    chance in life too, and no oracle can tell.
    """

    rng: Random
    flows: dict[str, Flow] = field(default_factory=dict)
    agents: dict[str, AgentPlan] = field(default_factory=dict)
    functions: dict[str, FunctionPlan] = field(default_factory=dict)
    humans: dict[str, HumanPlan] = field(default_factory=dict)
    tempers: dict[str, Temper] = field(default_factory=dict)
    count: int = 0
    calm: bool = False

    def plan(self) -> Plan:
        self.flow(ROOT, depth=3, people=True, tame=False)
        return plan(
            None,
            flows=self.flows,
            agents=self.agents,
            functions=self.functions,
            humans=self.humans,
            tools={"t": None, "u": Kind.IDEMPOTENT},
        )

    def flow(self, key: str, *, depth: int, people: bool, tame: bool) -> None:
        kind = self.rng.choice(_TYPES)
        outer = self.calm
        if kind is FlowType.MAP:
            # All items share the moods of the leaves: with any, it would be chance which item they strike.
            self.calm = tame = True
        if kind is FlowType.CONCURRENT and not tame:
            tame = people = people and self.rng.random() < 0.5
        most = 1 if kind is FlowType.MAP else 4 if depth == 3 else 3
        ids = [self._name() for _ in range(self.rng.randint(1, most))]
        steps = tuple(self._step(kind, name, ids, depth=depth, people=people, tame=tame) for name in ids)
        if kind is FlowType.GRAPH:
            flow = Flow(key, kind, steps, start=ids[0], edges=self._edges(ids, tame=tame), max_steps=6)
        elif kind is FlowType.GROUP_CHAT:
            until = self.rng.choice([None, Condition("output_contains", self.rng.choice(ids))])
            flow = Flow(key, kind, steps, rounds=self.rng.randint(1, 2), until=until)
        elif kind is FlowType.HANDOFF:
            order = tuple(self.rng.choices(ids, k=self.rng.randint(0, 4)))
            flow = Flow(key, kind, steps, order=order, max_iterations=self.rng.choice([None, 1, 2, 9]))
        else:
            joined = self.rng.choice([Aggregation.LAST, Aggregation.CONCAT, Aggregation.JSON])
            # Where something may fail for good, it would be chance what had begun before.
            limit = self.rng.choice([None, 1, 2]) if tame else None
            flow = Flow(key, kind, steps, aggregation=joined, max_concurrency=limit)
        self.flows[key] = replace(flow, variables={"v": Variable(default="v")})
        self.calm = outer

    def _name(self) -> str:
        self.count += 1
        return f"s{self.count}"

    def _step(self, flow: FlowType, name: str, ids: list[str], *, depth: int, people: bool, tame: bool) -> Step:
        kind = self.rng.choice(["function", "function", "agent", "human", "workflow", "as_agent"])
        if (kind in ("workflow", "as_agent") and depth == 1) or (kind == "human" and not people):
            kind = "function"
        retries = self.rng.randint(0, 2)
        on_error, fallback = self.rng.choice(list(OnError)), None
        if on_error is OnError.FALLBACK:
            others = [other for other in ids if other != name] if flow in (FlowType.SEQUENTIAL, FlowType.GRAPH) else []
            fallback = self.rng.choice(others) if others else None
            on_error = OnError.FALLBACK if others else OnError.FAIL
        # Retries of whole workflows multiply; two levels of them are enough to see.
        nested = kind in ("workflow", "as_agent")
        retries = min(retries, 1) if nested else retries
        made = {"as_agent": StepKind.AGENT}.get(kind) or StepKind(kind)
        if nested:
            self.flow(f"w{name}", depth=depth - 1, people=people, tame=tame)
            self.agents[name] = AgentPlan(name, as_agent=f"w{name}")
        elif made is StepKind.HUMAN:
            self._person(flow, name, ids, tame=tame)
        else:
            most = retries if tame else 4
            turns = self.rng.randint(0, 2) if made is StepKind.AGENT else 0
            violation = not tame and self.rng.random() < 0.1
            failures = 0 if self.calm else max(0, self.rng.randint(-3, most))
            self.tempers[name] = Temper(failures, violation, turns=turns)
            self.agents[name] = AgentPlan(name, strategy=Strategy(StrategyType.REACT))
            # Beside a branch that fails, nobody is asked any more: what is uncertain there stays so.
            once = people and self.rng.random() < 0.3
            self.functions[name] = FunctionPlan(f"app:{name}", Kind.ONCE if once else None)
        ref = f"w{name}" if kind == "workflow" else name
        given = output = None
        if kind in ("function", "agent"):
            given = self.rng.choice([None, None, None, "{{ text }}+{{ variables.v }}", "{{ input }}\n{{ text }}"])
            output = self.rng.choice([None, "v"])
        return Step(name, made, ref, on_error, fallback, retries, input=given, output=output)

    def _person(self, flow: FlowType, name: str, ids: list[str], *, tame: bool) -> None:
        on_reject = self.rng.choice([OnReject.CONTINUE, OnReject.GOTO] if tame else list(OnReject))
        if flow not in (FlowType.SEQUENTIAL, FlowType.GRAPH) or (tame and flow is FlowType.GRAPH):
            on_reject = OnReject.FAIL if on_reject is OnReject.FAIL else OnReject.CONTINUE
        goto = self.rng.choice(ids) if on_reject is OnReject.GOTO else None
        self.humans[name] = HumanPlan(on_reject=on_reject, reject_goto=goto)
        decision = self.rng.choice([Decision.APPROVED, Decision.EDITED])
        self.tempers[name] = Temper(0 if self.calm else self.rng.randint(0, 2), decision=decision)

    def _edges(self, ids: list[str], *, tame: bool) -> tuple[Edge, ...]:
        edges = []
        for _ in range(self.rng.randint(0, 2 * len(ids))):
            source, target = self.rng.randrange(len(ids)), self.rng.randrange(len(ids))
            if tame and target <= source:
                continue
            edges.append(Edge(ids[source], ids[target], self._condition(ids)))
        return tuple(edges)

    def _condition(self, ids: list[str]) -> Condition | None:
        part = Condition("output_contains", self.rng.choice(ids))
        return self.rng.choice(
            [
                None,
                part,
                Condition("not", conditions=(part,)),
                Condition("status_is", "failed"),
                Condition("metadata_equals", "rejected", key="human_response"),
                Condition("decision_is", "edited"),
                Condition("variable_equals", "v", key="v"),
            ]
        )


@dataclass(slots=True)
class Chance:
    """A world in which anything may happen at any time."""

    rng: Random
    world: World
    nature: Nature
    crashes: int = 6

    def play(self) -> tuple[str, str | None]:
        """Takes the run to its end."""
        world, rng = self.world, self.rng
        world.advance()
        while not world.run.status.is_terminal:
            moves: list[Callable[[], None]] = []
            if world.flights:
                moves += [self._land] * 4
            if open_tasks(world.run):
                moves += [self._answer] * 2
            if world.stand.retry_at is not None and (rng.random() < 0.3 or not moves):
                moves.append(world.tick)
            if self.crashes and moves and rng.random() < 0.15:
                moves = [self._crash]
            rng.choice(moves)()
            # Several things may come to pass before the owner of the lease looks.
            if rng.random() < 0.8 or not world.flights:
                world.advance()
        return world.outcome

    def _land(self) -> None:
        self.world.land(self.rng.randrange(len(self.world.flights)))

    def _crash(self) -> None:
        self.crashes -= 1
        self.world.interrupt()
        self.world.advance()

    def _answer(self) -> None:
        asked = self.rng.choice(open_tasks(self.world.run))
        if asked.kind is StepKind.HUMAN:
            ref = asked.executes
            self.world.answer_task(asked, *self.nature.decide(ref))
        else:
            self.world.answer_task(asked, Decision.APPROVED)


def behaviour(nature: Nature) -> Callable[[Effect], Answer]:
    def reply(effect: Effect) -> Answer:
        match effect:
            case CallTool():
                return "T"
            case CallFunction(step=step, text=text):
                name, heard = step.ref, text
            case RunAgentTurn(agent=name, messages=messages):
                heard = messages[0].content
                turns = sum(message.role is Role.ASSISTANT for message in messages)
                if turns < nature.tempers[name].turns:
                    return Says("thinking", ("t", "u"))
            case _:
                raise AssertionError(effect)
        if nature.fails(name):
            return Fails(f"error of {name}", nature.tempers[name].violation)
        return said(heard, name)

    return reply


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.integers(0, 2**32))
def test_any_workflow_comes_to_what_recursion_says(seed: int) -> None:
    rng = Random(seed)
    author = Author(rng)
    whole = author.plan()
    expected = RunOracle(whole, Nature(author.tempers), TEXT)
    nature = Nature(author.tempers)
    world = World(whole, behaviour(nature), TEXT)
    chance = Chance(rng, world, nature)
    for _ in range(_CONTINUES):
        try:
            wanted = expected.outcome()
        except TooMuchError:
            reject()
        assert chance.play() == wanted
        if world.run.status is not RunStatus.FAILED:
            break
        world.add(ev.RunContinued("operator"))
        world.leg(ev.LegReason.CONTINUE)
    else:
        world.check_fold()
    assert world.stand.phase in (Phase.ENDED, Phase.RUNNABLE)
