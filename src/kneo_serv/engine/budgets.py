"""Budgets: what a run, and an agent within it, has used and may use."""

from kneo_serv.engine.commands import AskHuman, Fail, FailStep, Opening
from kneo_serv.engine.frames import agent_of, find, flow_of, frame_holding, step_of
from kneo_serv.model import event as ev
from kneo_serv.model.ids import StepKey
from kneo_serv.model.message import Usage
from kneo_serv.model.plan import Budget, HumanPlan, OnBudget, Plan, RequestType, StepKind
from kneo_serv.model.quick import replace
from kneo_serv.model.run import Clock, Run, Spent, StepState
from kneo_serv.model.task import About, Decision

BUDGET_EXCEEDED = "budget_exceeded"
"""Error type of a run, or of an agent's step, that used up its budget."""

RUN = "run"
_AGENT = "agent:"


# --- deciding -------------------------------------------------------------------------------------------------------


def run_over_budget(plan: Plan, run: Run, now: float) -> Fail | None:
    """Why the run goes on no longer: it took longer than it may. What else it may use, questions to models use up."""
    budget = plan.limits.budget
    if budget is None or budget.seconds is None or budget.on_budget is OnBudget.ASK:
        return None
    seconds = _of_run(run, now).seconds
    if seconds <= budget.seconds:
        return None
    return Fail(BUDGET_EXCEEDED, f"The run used {_number(seconds)} seconds; its budget is {_number(budget.seconds)}.")


def before_turn(
    plan: Plan, run: Run, agent: str, state: StepState, opening: Opening, now: float
) -> FailStep | AskHuman | None:
    """What stands between an agent and its next question to a model; None when its budgets let it ask."""
    scopes = (
        (plan.agents[agent].budget, f"Agent {plan.agents[agent].name!r}", _AGENT + agent),
        (plan.limits.budget, "The run", RUN),
    )
    begun = None if state.attempt == opening.attempt else opening
    for budget, who, scope in scopes:
        if budget is None:
            continue
        spent = _of_run(run, now) if scope == RUN else _of_agent(run, agent, now)
        over = _used_up(budget, spent, run.grants.get(scope, 0))
        if over is None:
            continue
        if budget.on_budget is OnBudget.FAIL:
            return FailStep(state.key, BUDGET_EXCEEDED, f"{who} used {over}.", violation=True, opening=begun)
        return AskHuman(
            state.key,
            opening.step,
            state.index,
            HumanPlan(request_type=RequestType.APPROVAL),
            state.input_text,
            title="May more be used?",
            prompt=f"{who} used {over}. Approve to let it use as much again, reject to stop here.",
            metadata={"budget": scope},
            about=About.BUDGET,
            subject=scope,
            opening=begun,
        )
    return None


def _used_up(budget: Budget, spent: Spent, grants: int) -> str | None:
    """Which bound leaves nothing for another question, in words."""
    times = 1 + grants
    used: tuple[tuple[float, float | None, str], ...] = (
        (spent.usage.total_tokens, budget.tokens, "tokens"),
        (spent.usage.cost_usd, budget.cost_usd, "US dollars"),
        (spent.usage.requests, budget.calls, "questions to models"),
        (spent.seconds, budget.seconds, "seconds"),
    )
    for amount, bound, unit in used:
        if bound is not None and amount >= bound * times:
            return f"{_number(amount)} {unit}; its budget is {_number(bound * times)}"
    return None


def _number(amount: float) -> str:
    return f"{amount:,}" if isinstance(amount, int) else f"{amount:,.4g}"


def _of_run(run: Run, now: float) -> Spent:
    return Spent(run.usage, run.seconds + max(0.0, now - run.at))


def _of_agent(run: Run, agent: str, now: float) -> Spent:
    spent = run.spent.get(agent, Spent())
    at_work = sum(max(0.0, now - clock.since) for clock in run.clocks.values() if clock.agent == agent)
    return replace(spent, seconds=spent.seconds + at_work)


# --- folding --------------------------------------------------------------------------------------------------------

_UNCOUNTED = (
    ev.RunCreated,
    ev.LegStarted,
    ev.HumanAnswered,
    ev.HumanReminded,
    ev.HumanEscalated,
    ev.HumanExpired,
    ev.RunContinued,
    ev.RunForked,
    ev.RunCancelled,
    ev.RunTimedOut,
    ev.RunExpired,
)
"""What may come after a rest; the time before it is not counted, since nobody was at work."""


def seconds_until(run: Run, event: ev.Event, at: float) -> float:
    """Time at work of the run when this event comes."""
    return run.seconds if isinstance(event, _UNCOUNTED) else run.seconds + max(0.0, at - run.at)


def used(plan: Plan, run: Run, event: ev.Event, at: float) -> Run:
    """The run with what was used up to this event, before the event itself is folded."""
    match event:
        case ev.LegStarted() | ev.RunForked():
            # How long an interrupted attempt was at work, nobody knows.
            return replace(run, clocks={}) if run.clocks else run
        case ev.StepStarted(key=key, step_kind=StepKind.AGENT | StepKind.GUARDRAIL, flow=None, ref=agent):
            return replace(run, clocks={**run.clocks, key: Clock(agent, at)})
        case ev.ModelTurnStarted(key=key) if key not in run.clocks:
            asked = _agent_at(plan, run, key)
            return run if asked is None else replace(run, clocks={**run.clocks, key: Clock(asked, at)})
        case ev.ModelTurnCompleted(key=key, usage=usage):
            asked = _agent_at(plan, run, key)
            return replace(run, usage=run.usage + usage) if asked is None else _spend(run, asked, usage=usage)
        case ev.GuardrailApplied(usage=usage):
            return replace(run, usage=run.usage + usage) if usage != Usage() else run
        case ev.StepCompleted(key=key) | ev.StepFailed(key=key) | ev.HumanAsked(key=key) if key in run.clocks:
            clock = run.clocks[key]
            run = replace(run, clocks={other: one for other, one in run.clocks.items() if other != key})
            return _spend(run, clock.agent, seconds=max(0.0, at - clock.since))
        case ev.HumanAnswered(key=key, decision=decision) if decision is not Decision.REJECTED:
            state = find(run.frame, key)
            task = state.task if state is not None else None
            if task is None or task.about is not About.BUDGET or task.subject is None:
                return run
            return replace(run, grants={**run.grants, task.subject: run.grants.get(task.subject, 0) + 1})
        case _:
            return run


def _spend(run: Run, agent: str, *, usage: Usage = Usage(), seconds: float = 0.0) -> Run:
    spent = run.spent.get(agent, Spent())
    spent = Spent(spent.usage + usage, spent.seconds + seconds)
    return replace(run, usage=run.usage + usage, spent={**run.spent, agent: spent})


def _agent_at(plan: Plan, run: Run, key: StepKey) -> str | None:
    frame = run.frame and frame_holding(run.frame, key)
    state = frame.live.get(key) if frame is not None else None
    if frame is None or state is None or state.kind not in (StepKind.AGENT, StepKind.GUARDRAIL):
        return None
    return agent_of(frame, step_of(flow_of(plan, frame), state))
