"""Going through the named parts of a spec, each with its key and its place."""

from collections.abc import Iterator
from typing import NamedTuple

from kneo_serv.model.plan import ROOT
from kneo_serv.spec.models.agent import AgentSpec
from kneo_serv.spec.models.spec import KneoSpec
from kneo_serv.spec.models.workflow import (
    AnyStepSpec,
    GraphSpec,
    MapSpec,
    ParallelSpec,
    SequentialSpec,
    StepSpec,
    VariableSpec,
    WorkflowSpec,
)
from kneo_serv.spec.path import Path

AGGREGATOR = "@aggregator"
"""Id of the step that makes one text of the texts of all branches."""

SPEAKER = "@speaker"
"""Id of the step that names the next speaker of a group chat."""

type InnerSpec = ParallelSpec | MapSpec
"""A step that holds steps of its own, and so is a workflow too."""

type AnyWorkflow = WorkflowSpec | InnerSpec


class AgentAt(NamedTuple):
    """An agent with its key (ROOT for the root agent) and its place."""

    path: Path
    key: str
    spec: AgentSpec


class WorkflowAt(NamedTuple):
    """A workflow with its key (ROOT for the root workflow) and its place.

    The workflow inside a step of kind parallel or map has the key `<key around it>/<step id>`.
    """

    path: Path
    key: str
    spec: AnyWorkflow
    owner: WorkflowSpec
    """The workflow as it is named in the spec: this one, or the one around it."""
    enabled: bool = True
    """Whether no step around it is disabled."""

    @property
    def variables(self) -> dict[str, VariableSpec]:
        """What templates and conditions in here may name."""
        return self.owner.variables


class StepAt(NamedTuple):
    """A step, node, participant or branch with its id and its place."""

    path: Path
    id: str
    spec: AnyStepSpec

    @property
    def ref(self) -> str:
        """What the step refers to; empty for one that holds its own steps."""
        return self.spec.ref if isinstance(self.spec, StepSpec) else ""


def agents(spec: KneoSpec) -> Iterator[AgentAt]:
    """The root agent, then those of the components."""
    yield AgentAt(("agent",), ROOT, spec.agent)
    for key, agent in spec.components.agents.items():
        yield AgentAt(("components", "agents", key), key, agent)


def workflows(spec: KneoSpec) -> Iterator[WorkflowAt]:
    """The root workflow, if there is one, then those of the components; each followed by those inside its steps."""
    for workflow in named_workflows(spec):
        yield from _with_inner(workflow)


def named_workflows(spec: KneoSpec) -> Iterator[WorkflowAt]:
    """The root workflow, if there is one, then those of the components."""
    if spec.workflow is not None:
        yield WorkflowAt(("workflow",), ROOT, spec.workflow, spec.workflow)
    for key, workflow in spec.components.workflows.items():
        yield WorkflowAt(("components", "workflows", key), key, workflow, workflow)


def _with_inner(workflow: WorkflowAt) -> Iterator[WorkflowAt]:
    yield workflow
    for step in steps(workflow.path, workflow.spec):
        if isinstance(step.spec, (ParallelSpec, MapSpec)):
            enabled = workflow.enabled and step.spec.enabled
            key = inner_key(workflow.key, step.id)
            yield from _with_inner(WorkflowAt(step.path, key, step.spec, workflow.owner, enabled))


def enabled_steps(workflow: WorkflowAt) -> Iterator[StepAt]:
    """Every step that can run, in the workflow itself and inside its steps."""
    for inner in _with_inner(workflow):
        if inner.enabled:
            yield from (step for step in steps(inner.path, inner.spec) if step.spec.enabled)


def inner_key(key: str, step_id: str) -> str:
    """The key of the workflow inside a step, from the key of the workflow around it."""
    return f"{key}/{step_id}"


def steps(path: Path, workflow: AnyWorkflow) -> Iterator[StepAt]:
    """Every step of a workflow, disabled ones too, those inside them left out. A node's id is its key."""
    if isinstance(workflow, GraphSpec):
        for key, node in workflow.nodes.items():
            yield StepAt((*path, "nodes", key), key, node)
    elif isinstance(workflow, MapSpec):
        yield StepAt((*path, "step"), workflow.step.id, workflow.step)
    else:
        for index, step in enumerate(step_list(workflow)):
            yield StepAt((*path, step_field(workflow), index), step.id, step)


def step_list(workflow: AnyWorkflow) -> list[AnyStepSpec]:
    """The steps as written, whatever the workflow calls them."""
    match workflow:
        case GraphSpec():
            return list(workflow.nodes.values())
        case MapSpec():
            return [workflow.step]
        case ParallelSpec():
            return workflow.branches
        case SequentialSpec():
            return workflow.steps
        case _:
            return workflow.participants


def step_field(workflow: AnyWorkflow) -> str:
    """What the workflow calls its steps: `steps`, `nodes`, `participants`, `branches` or `step`."""
    match workflow:
        case GraphSpec():
            return "nodes"
        case MapSpec():
            return "step"
        case ParallelSpec():
            return "branches"
        case SequentialSpec():
            return "steps"
        case _:
            return "participants"


def agent_key(spec: KneoSpec, ref: str) -> str | None:
    """The key of the agent that `ref` names; the root agent goes by its name."""
    if ref in spec.components.agents:
        return ref
    return ROOT if ref == spec.agent.name else None
