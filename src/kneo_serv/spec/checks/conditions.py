"""Conditions of edges: each type with the fields it needs."""

from collections.abc import Iterator

from kneo_serv.spec.finding import Finding, error
from kneo_serv.spec.models.spec import KneoSpec
from kneo_serv.spec.models.workflow import ConditionSpec, GraphSpec
from kneo_serv.spec.path import Path
from kneo_serv.spec.walk import workflows

_STATUSES = ("completed", "failed")


def check_conditions(spec: KneoSpec) -> Iterator[Finding]:
    """Faults of every condition, nested ones too."""
    for path, _, workflow in workflows(spec):
        if isinstance(workflow, GraphSpec):
            for index, edge in enumerate(workflow.edges):
                if edge.condition is not None:
                    yield from _condition((*path, "edges", index, "condition"), edge.condition)


def _condition(path: Path, condition: ConditionSpec) -> Iterator[Finding]:
    kind = condition.type
    if kind in ("metadata_equals", "variable_equals") and not condition.key:
        yield error("E_CONDITION_KEY", (*path, "key"), f"`{kind}` needs a `key`.")
    if kind in ("output_contains", "output_equals") and not isinstance(condition.value, str):
        yield error("E_CONDITION_VALUE", (*path, "value"), f"`{kind}` needs a text as `value`.")
    if kind in ("metadata_equals", "variable_equals") and condition.value is None:
        yield error("E_CONDITION_VALUE", (*path, "value"), f"`{kind}` needs a `value`.")
    if kind == "status_is" and condition.value not in _STATUSES:
        yield error("E_CONDITION_VALUE", (*path, "value"), "`status_is` needs `completed` or `failed` as `value`.")
    if kind in ("all_of", "any_of"):
        if not condition.conditions:
            yield error("E_CONDITION_CHILDREN", (*path, "conditions"), f"`{kind}` needs at least one condition.")
        for index, part in enumerate(condition.conditions or ()):
            yield from _condition((*path, "conditions", index), part)
    if kind == "not":
        if condition.condition is None:
            yield error("E_CONDITION_CHILD", (*path, "condition"), "`not` needs a `condition`.")
        else:
            yield from _condition((*path, "condition"), condition.condition)
