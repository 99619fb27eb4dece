"""Branches that run at the same time: how many are waited for, and what becomes of their texts."""

from collections.abc import Iterator

from kneo_serv.spec.checks.expressions import check_expression
from kneo_serv.spec.finding import Finding, error, near
from kneo_serv.spec.models.spec import KneoSpec
from kneo_serv.spec.models.workflow import AggregationSpec, ConcurrentSpec, JoinSpec, MapSpec, ParallelSpec
from kneo_serv.spec.path import Path
from kneo_serv.spec.walk import WorkflowAt, agent_key, step_list, workflows

_WORDS = "`last`, `concat`, `json`, `{agent: ...}` or `{function: ...}`"


def check_branches(spec: KneoSpec) -> Iterator[Finding]:
    """Faults of workflows and steps that do several things at once."""
    taken: set[str] = set()
    for workflow in workflows(spec):
        if workflow.key in taken:
            message = f"The name `{workflow.key}` is taken by a step of kind parallel or map in another workflow."
            yield error("E_WORKFLOW_KEY_TAKEN", workflow.path, message, "Give it another name.", key=True)
        taken.add(workflow.key)
        written = workflow.spec
        if isinstance(written, (ConcurrentSpec, ParallelSpec, MapSpec)):
            if written.max_concurrency is not None and written.max_concurrency < 1:
                place = (*workflow.path, "max_concurrency")
                yield error("E_MAX_CONCURRENCY", place, "`max_concurrency` must be at least 1.")
            if written.aggregation is not None:
                yield from _aggregation(spec, workflow.path, written.aggregation)
        if isinstance(written, (ConcurrentSpec, ParallelSpec)) and written.join is not None:
            yield from _join(workflow, written.join)
        if isinstance(written, MapSpec) and written.over is not None:
            yield from check_expression((*workflow.path, "over"), written.over, workflow.variables)


def _join(workflow: WorkflowAt, join: JoinSpec) -> Iterator[Finding]:
    path = (*workflow.path, "join")
    if (join.type is None) == (join.n_of is None):
        yield error("E_JOIN_FIELDS", path, "A join is `all`, `any` or `{n_of: <number>}`.")
    if join.n_of is None:
        return
    branches = sum(1 for step in step_list(workflow.spec) if step.enabled)
    if not 1 <= join.n_of <= branches:
        message = f"`n_of` is {join.n_of}, but there are {branches} branches that can run."
        yield error("E_JOIN_COUNT", (*path, "n_of"), message, f"Use a number from 1 to {branches}.")


def _aggregation(spec: KneoSpec, path: Path, wanted: AggregationSpec) -> Iterator[Finding]:
    place = (*path, "aggregation")
    named = [item for item in (wanted.type, wanted.agent, wanted.function) if item is not None]
    if len(named) != 1:
        yield error("E_AGGREGATION_FIELDS", place, f"An aggregation is one of {_WORDS}.")
    if wanted.agent is not None and agent_key(spec, wanted.agent) is None:
        hint = near(wanted.agent, [*spec.components.agents, spec.agent.name])
        yield error("E_AGGREGATION_REF", (*place, "agent"), f"There is no agent `{wanted.agent}`.", hint)
    if wanted.function is not None and wanted.function not in spec.components.functions:
        hint = near(wanted.function, spec.components.functions)
        message = f"There is no function `{wanted.function}` in components.functions."
        yield error("E_AGGREGATION_REF", (*place, "function"), message, hint)
