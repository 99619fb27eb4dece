"""What a workflow must come to, by plain recursion: no journal, no keys, nothing side by side.

An instance that failed may be asked again: it goes on where it stopped, which is what continuing a run means.
"""

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from kneo_serv.engine.answers import answer_text
from kneo_serv.engine.conditions import Sight, holds
from kneo_serv.model.plan import ROOT, Aggregation, Flow, FlowType, OnError, OnReject, Plan, Step, StepKind
from kneo_serv.model.task import Decision

LONGEST = 2_000
"""Characters of a text that the oracle follows."""

MOST = 150
"""Steps of a run that it follows, those of nested workflows included."""

_KEPT = 60


class TooMuchError(Exception):
    """The run takes too many steps, or its texts grow too long, to be worth the time of a test."""


def said(text: str, name: str) -> str:
    """What the leaf of this name makes of a text: of a long one it keeps the end, so that loops stay small."""
    return f"{text[-_KEPT:]}>{name}"


class FailedError(Exception):
    """The step, or the workflow, failed."""

    def __init__(self, error_type: str, *, violation: bool = False, decided: bool = False) -> None:
        super().__init__(error_type)
        self.error_type = error_type
        self.violation = violation
        self.decided = decided
        """A person decided it: the step's own policy has no say."""


@dataclass(frozen=True, slots=True)
class Temper:
    """How a leaf behaves: it fails so many times first; a person rejects so many times first."""

    failures: int = 0
    violation: bool = False
    decision: Decision = Decision.APPROVED
    turns: int = 0
    """An agent's turns with tool calls, before its last word."""


@dataclass(slots=True)
class Nature:
    """How all leaves of a plan behave, and how often each did so already."""

    tempers: Mapping[str, Temper]
    seen: Counter[str] = field(default_factory=Counter)
    steps: int = 0

    def bound(self, text: str) -> None:
        """Counts a step that is given this text. Raises TooMuchError."""
        self.steps += 1
        if self.steps > MOST or len(text) > LONGEST:
            raise TooMuchError

    def fails(self, name: str) -> bool:
        """Whether the call of this name that ends now fails."""
        if self.seen[name] >= self.tempers[name].failures:
            return False
        self.seen[name] += 1
        return True

    def decide(self, name: str) -> tuple[Decision, str | None]:
        """What the person of this name answers now."""
        if self.fails(name):
            return Decision.REJECTED, f"not yet, says {name}"
        decision = self.tempers[name].decision
        return decision, f"edited by {name}" if decision is Decision.EDITED else None


@dataclass(slots=True)
class Ended:
    """How a step ended."""

    text: str
    failed: bool = False
    decision: Decision | None = None
    goto: str | None = None
    executed: str = ""

    @property
    def spoke(self) -> bool:
        return not self.failed and self.decision is not Decision.APPROVED


class StepOracle:
    """One step instance."""

    def __init__(self, plan: Plan, nature: Nature, flow: Flow, step: Step, text: str) -> None:
        nature.bound(text)
        self.plan, self.nature, self.flow, self.step, self.text = plan, nature, flow, step, text
        self.executes = step
        self.frame: FrameOracle | None = None

    def run(self) -> Ended:
        """Its end. Raises FailedError, and goes on from there when it is called again."""
        left = self.executes.max_retries
        while True:
            try:
                ended = self._target()
            except FailedError as error:
                if error.decided and self.frame is None:
                    raise
                if error.violation:
                    raise FailedError(error.error_type, violation=True) from None
                if left > 0:
                    left -= 1
                    self.frame = None
                    continue
                if self.executes is self.step and self.step.on_error is OnError.CONTINUE:
                    return Ended(self.text, failed=True, executed=self.step.id)
                if self.executes is self.step and self.step.on_error is OnError.FALLBACK:
                    self.executes = self.flow.step(self.step.fallback or "")
                    self.frame = None
                    left = self.executes.max_retries
                    continue
                raise FailedError(error.error_type) from None
            ended.executed = self.executes.id
            return ended

    def _target(self) -> Ended:
        step = self.executes
        if step.kind is StepKind.HUMAN:
            return self._person(step.ref)
        inner = self.plan.agents[step.ref].as_agent if step.kind is StepKind.AGENT else step.ref
        if step.kind is StepKind.FUNCTION or inner is None:
            if self.nature.fails(step.ref):
                raise FailedError(f"error of {step.ref}", violation=self.nature.tempers[step.ref].violation)
            return Ended(said(self.text, step.ref))
        self.frame = self.frame or FrameOracle(self.plan, self.nature, self.plan.flows[inner], self.text)
        return Ended(self.frame.run())

    def _person(self, ref: str) -> Ended:
        human = self.plan.humans[ref]
        decision, content = self.nature.decide(ref)
        if decision is Decision.REJECTED and human.on_reject is OnReject.FAIL:
            raise FailedError("human_rejected", decided=True)
        goto = human.reject_goto if decision is Decision.REJECTED and human.on_reject is OnReject.GOTO else None
        return Ended(answer_text(decision, self.text, content=content), decision=decision, goto=goto)


class FrameOracle:
    """One workflow at work."""

    def __init__(self, plan: Plan, nature: Nature, flow: Flow, text: str) -> None:
        self.plan, self.nature, self.flow, self.text = plan, nature, flow, text
        self.given, self.variables = text, {name: variable.default for name, variable in flow.variables.items()}
        self.place = 0
        self.node = flow.start
        self.steps_left = flow.max_steps
        self.current: StepOracle | None = None
        self.branches: dict[str, StepOracle | Ended] = {}

    def run(self) -> str:
        """The text that it ends with. Raises FailedError, and goes on from there when it is called again."""
        match self.flow.type:
            case FlowType.CONCURRENT | FlowType.MAP:
                return self._side_by_side()
            case FlowType.GRAPH:
                return self._graph()
            case FlowType.SEQUENTIAL:
                return self._row(self.flow.steps)
            case FlowType.GROUP_CHAT:
                return self._row(self.flow.steps * self.flow.rounds)
            case FlowType.HANDOFF:
                turns = tuple(self.flow.step(step_id) for step_id in self.flow.order) or self.flow.steps
                return self._row(turns[: self.flow.max_iterations])

    def renew(self) -> None:
        """The run is continued: every graph gets its steps again."""
        self.steps_left = self.flow.max_steps
        for one in (self.current, *self.branches.values()):
            if isinstance(one, StepOracle) and one.frame is not None:
                one.frame.renew()

    def _step(self, step: Step) -> Ended:
        self.current = self.current or self._instance(step, self.text)
        ended = self.current.run()
        self.current, self.text = None, ended.text
        if step.output is not None and not ended.failed and ended.decision is not Decision.REJECTED:
            self.variables[step.output] = ended.text
        return ended

    def _instance(self, step: Step, text: str) -> StepOracle:
        heard = (step.input or "{{ text }}").replace("{{ text }}", "\0")
        heard = heard.replace("{{ input }}", self.given).replace("{{ variables.v }}", str(self.variables.get("v")))
        return StepOracle(self.plan, self.nature, self.flow, step, heard.replace("\0", text))

    def _row(self, turns: tuple[Step, ...]) -> str:
        while self.place < len(turns):
            ended = self._step(turns[self.place])
            self.place += 1
            until = self.flow.until
            if until is not None and holds(until, Sight(ended.text, ended.failed)):
                self.place = len(turns)
            if ended.goto is not None and self.flow.type is FlowType.SEQUENTIAL:
                self.place = [step.id for step in self.flow.steps].index(ended.goto)
        return self.text

    def _side_by_side(self) -> str:
        errors: list[FailedError] = []
        turns = self._turns()
        for name, step, text in turns:
            branch = self.branches.setdefault(name, self._instance(step, text))
            if isinstance(branch, StepOracle):
                try:
                    self.branches[name] = branch.run()
                except FailedError as error:
                    errors.append(error)
        if errors:
            told = next((error for error in errors if error.violation), errors[0])
            raise FailedError(told.error_type, violation=told.violation)
        ends = {name: self.branches[name] for name, _, _ in turns}
        is_list = self.flow.type is FlowType.MAP
        words = {name: end.text for name, end in ends.items() if isinstance(end, Ended) and (is_list or end.spoke)}
        match self.flow.aggregation:
            case Aggregation.JSON:
                return json.dumps(list(words.values()) if is_list else words, separators=(",", ":"))
            case Aggregation.CONCAT:
                return "\n\n".join(words.values()) if words or is_list else self.text
            case _:
                return list(words.values())[-1] if words else "" if is_list else self.text

    def _turns(self) -> list[tuple[str, Step, str]]:
        if self.flow.type is FlowType.CONCURRENT:
            return [(step.id, step, self.text) for step in self.flow.steps]
        try:
            found = json.loads(self.text)
        except ValueError:
            found = None
        lines = [line.strip() for line in self.text.splitlines() if line.strip()]
        items = found if isinstance(found, list) else lines
        return [(str(place), self.flow.steps[0], item) for place, item in enumerate(items)]

    def _graph(self) -> str:
        while self.node is not None:
            if self.current is None:
                if self.steps_left == 0:
                    raise FailedError("max_iterations")
                self.steps_left -= 1
            ended = self._step(self.flow.step(self.node))
            self.node = ended.goto or self._edge(self.node, ended)
        return self.text

    def _edge(self, node: str, ended: Ended) -> str | None:
        metadata = {} if ended.decision is None else {"human_response": ended.decision.value}
        decision = None if ended.decision is None else ended.decision.value
        sight = Sight(ended.text, ended.failed, metadata, self.variables, decision)
        for edge in self.flow.edges:
            if edge.source == node and (edge.condition is None or holds(edge.condition, sight)):
                return edge.target
        return None


class RunOracle:
    """A whole run."""

    def __init__(self, plan: Plan, nature: Nature, text: str) -> None:
        self.frame = FrameOracle(plan, nature, plan.flows[ROOT], text)

    def outcome(self) -> tuple[str, str]:
        """Status, and the text or the type of error; once more when the run is continued."""
        self.frame.renew()
        try:
            return "completed", self.frame.run()
        except FailedError as error:
            return "failed", error.error_type
