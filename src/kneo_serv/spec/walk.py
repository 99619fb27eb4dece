"""Going through the named parts of a spec, each with its key and its place."""

from collections.abc import Iterator
from typing import NamedTuple

from kneo_serv.model.plan import ROOT
from kneo_serv.spec.models.agent import AgentSpec
from kneo_serv.spec.models.spec import KneoSpec
from kneo_serv.spec.models.workflow import GraphSpec, SequentialSpec, StepSpec, WorkflowSpec
from kneo_serv.spec.path import Path


class AgentAt(NamedTuple):
    """An agent with its key (ROOT for the root agent) and its place."""

    path: Path
    key: str
    spec: AgentSpec


class WorkflowAt(NamedTuple):
    """A workflow with its key (ROOT for the root workflow) and its place."""

    path: Path
    key: str
    spec: WorkflowSpec


class StepAt(NamedTuple):
    """A step, node or participant with its id and its place."""

    path: Path
    id: str
    spec: StepSpec


def agents(spec: KneoSpec) -> Iterator[AgentAt]:
    """The root agent, then those of the components."""
    yield AgentAt(("agent",), ROOT, spec.agent)
    for key, agent in spec.components.agents.items():
        yield AgentAt(("components", "agents", key), key, agent)


def workflows(spec: KneoSpec) -> Iterator[WorkflowAt]:
    """The root workflow, if there is one, then those of the components."""
    if spec.workflow is not None:
        yield WorkflowAt(("workflow",), ROOT, spec.workflow)
    for key, workflow in spec.components.workflows.items():
        yield WorkflowAt(("components", "workflows", key), key, workflow)


def steps(path: Path, workflow: WorkflowSpec) -> Iterator[StepAt]:
    """Every step of a workflow, disabled ones too. A node's id is its key."""
    if isinstance(workflow, GraphSpec):
        for key, node in workflow.nodes.items():
            yield StepAt((*path, "nodes", key), key, node)
        return
    for index, step in enumerate(step_list(workflow)):
        yield StepAt((*path, step_field(workflow), index), step.id, step)


def step_list(workflow: WorkflowSpec) -> list[StepSpec]:
    """The steps as written, whatever the workflow calls them."""
    if isinstance(workflow, GraphSpec):
        return list(workflow.nodes.values())
    return workflow.steps if isinstance(workflow, SequentialSpec) else workflow.participants


def step_field(workflow: WorkflowSpec) -> str:
    """What the workflow calls its steps: `steps`, `nodes` or `participants`."""
    if isinstance(workflow, GraphSpec):
        return "nodes"
    return "steps" if isinstance(workflow, SequentialSpec) else "participants"


def agent_key(spec: KneoSpec, ref: str) -> str | None:
    """The key of the agent that `ref` names; the root agent goes by its name."""
    if ref in spec.components.agents:
        return ref
    return ROOT if ref == spec.agent.name else None
