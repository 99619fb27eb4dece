"""Budgets: that they bound something, and that it is clear which bound holds."""

from collections.abc import Iterator

from kneo_serv.spec.finding import Finding, error, warning
from kneo_serv.spec.models.agent import BudgetSpec
from kneo_serv.spec.models.spec import KneoSpec
from kneo_serv.spec.path import Path
from kneo_serv.spec.walk import agents

BOUNDS = ("tokens", "cost_usd", "calls", "seconds")
"""What a budget may bound."""


def check_budgets(spec: KneoSpec) -> Iterator[Finding]:
    """Faults of the budgets of the run and of each agent."""
    yield from _bounds(("budget",), spec.budget)
    for agent in agents(spec):
        yield from _bounds((*agent.path, "budget"), agent.spec.budget)
    model = spec.agent.model
    if spec.budget is not None and spec.budget.tokens is not None and model is not None and model.token_budget:
        smaller = min(spec.budget.tokens, model.token_budget)
        message = f"`agent.model.token_budget` bounds the tokens of the run too; the smaller one holds ({smaller})."
        hint = "Keep `budget.tokens`, and remove `agent.model.token_budget`."
        yield warning("W_BUDGET_TWICE", ("budget", "tokens"), message, hint)


def _bounds(path: Path, budget: BudgetSpec | None) -> Iterator[Finding]:
    if budget is not None and all(getattr(budget, bound) is None for bound in BOUNDS):
        hint = f"Add {', '.join(f'`{bound}`' for bound in BOUNDS[:-1])} or `{BOUNDS[-1]}`."
        yield error("E_BUDGET_EMPTY", path, "This budget bounds nothing.", hint)
