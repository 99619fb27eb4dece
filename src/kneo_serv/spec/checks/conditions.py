"""Conditions of edges and of endings: each type with the fields it needs."""

from collections.abc import Iterator

from kneo_serv.model.task import Decision
from kneo_serv.spec.checks.expressions import check_expression
from kneo_serv.spec.finding import Finding, error, near, warning
from kneo_serv.spec.models.spec import KneoSpec
from kneo_serv.spec.models.workflow import ConditionSpec, GraphSpec, GroupChatSpec
from kneo_serv.spec.path import Path
from kneo_serv.spec.walk import WorkflowAt, named_workflows

_STATUSES = ("completed", "failed")
_DECISIONS = tuple(decision.value for decision in Decision)
_TEXT_TYPES = ("output_contains", "output_equals")
_KEY_TYPES = ("metadata_equals", "variable_equals")


def check_conditions(spec: KneoSpec) -> Iterator[Finding]:
    """Faults of every condition, nested ones too."""
    for workflow in named_workflows(spec):
        written = workflow.spec
        if isinstance(written, GraphSpec):
            for index, edge in enumerate(written.edges):
                if edge.condition is not None:
                    yield from _condition(workflow, (*workflow.path, "edges", index, "condition"), edge.condition)
        if isinstance(written, GroupChatSpec) and written.until is not None:
            yield from _condition(workflow, (*workflow.path, "until"), written.until)


def _condition(workflow: WorkflowAt, path: Path, condition: ConditionSpec) -> Iterator[Finding]:
    kind, value = condition.type, condition.value
    place = (*path, "value")
    if kind in _KEY_TYPES:
        yield from _keyed(workflow, path, condition)
    if kind in _TEXT_TYPES and not isinstance(value, str):
        yield error("E_CONDITION_VALUE", place, f"`{kind}` needs a text as `value`.")
    if kind == "status_is" and value not in _STATUSES:
        yield error("E_CONDITION_VALUE", place, "`status_is` needs `completed` or `failed` as `value`.")
    if kind == "decision_is" and value not in _DECISIONS:
        message = f"`decision_is` needs one of {', '.join(f'`{word}`' for word in _DECISIONS)} as `value`."
        yield error("E_CONDITION_VALUE", place, message, near(str(value), _DECISIONS))
    if kind == "cel":
        if isinstance(value, str):
            yield from check_expression(place, value, workflow.variables)
        else:
            yield error("E_CONDITION_VALUE", place, "`cel` needs an expression as `value`, a text.")
    if kind in ("all_of", "any_of"):
        if not condition.conditions:
            yield error("E_CONDITION_CHILDREN", (*path, "conditions"), f"`{kind}` needs at least one condition.")
        for index, part in enumerate(condition.conditions or ()):
            yield from _condition(workflow, (*path, "conditions", index), part)
    if kind == "not":
        if condition.condition is None:
            yield error("E_CONDITION_CHILD", (*path, "condition"), "`not` needs a `condition`.")
        else:
            yield from _condition(workflow, (*path, "condition"), condition.condition)


def _keyed(workflow: WorkflowAt, path: Path, condition: ConditionSpec) -> Iterator[Finding]:
    kind, key = condition.type, condition.key
    if not key:
        yield error("E_CONDITION_KEY", (*path, "key"), f"`{kind}` needs a `key`.")
    elif kind == "variable_equals" and key not in workflow.variables:
        message = f"The workflow has no variable `{key}`, so this never holds."
        hint = near(key, workflow.variables, otherwise=f"Add `variables: {{{key}: ...}}` to the workflow.")
        yield warning("W_CONDITION_VARIABLE", (*path, "key"), message, hint)
    if condition.value is None:
        yield error("E_CONDITION_VALUE", (*path, "value"), f"`{kind}` needs a `value`.")
