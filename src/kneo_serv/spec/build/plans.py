"""The whole plan, and its hash."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace

from kneo_serv.model.codec import encode
from kneo_serv.model.plan import (
    Dispatch,
    FunctionPlan,
    HumanPlan,
    Limits,
    McpServerPlan,
    OnReject,
    OnTimeout,
    Plan,
    RequestType,
    ToolPlan,
)
from kneo_serv.model.tool import Effect, ToolDefinition
from kneo_serv.spec.build.agents import build_agent, build_budget
from kneo_serv.spec.build.flows import build_flows
from kneo_serv.spec.models.component import FunctionSpec, HumanSpec
from kneo_serv.spec.models.spec import KneoSpec
from kneo_serv.spec.visible_tools import declared, included
from kneo_serv.spec.walk import agent_key, agents


def build_plan(spec: KneoSpec, registered: Mapping[str, ToolDefinition] | None, skills: Mapping[str, str]) -> Plan:
    """The plan of a checked spec; `skills` are the texts of the skills that its agents have."""
    budget = spec.agent.model.token_budget if spec.agent.model is not None else None
    plan = Plan(
        hash="",
        agents={agent.key: build_agent(spec, agent.spec) for agent in agents(spec)},
        flows=build_flows(spec),
        functions={name: _function(item) for name, item in spec.components.functions.items()},
        humans={name: _human(item) for name, item in spec.components.humans.items()},
        tools=_tools(spec, registered or {}),
        mcp_servers={
            name: McpServerPlan(item.transport, item.model_dump(exclude={"transport"}, exclude_defaults=True))
            for name, item in spec.mcp_servers.items()
        },
        skills=dict(skills),
        policies=dict(spec.policies),
        limits=Limits(token_budget=budget, budget=build_budget(spec.budget)),
        dispatch=Dispatch(spec.dispatch.queue, spec.dispatch.priority),
    )
    return replace(plan, hash=plan_hash(plan))


def plan_hash(plan: Plan) -> str:
    """Hex SHA-256 of the plan's canonical JSON (sorted keys, no blanks, UTF-8), its own hash left out."""
    content = encode(plan)
    content.pop("hash", None)
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def _function(function: FunctionSpec) -> FunctionPlan:
    return FunctionPlan(function.implementation, Effect(function.effect) if function.effect is not None else None)


def _human(human: HumanSpec) -> HumanPlan:
    timeout = human.timeout_seconds
    return HumanPlan(
        description=human.description,
        assignee=human.assignee,
        timeout_seconds=timeout if timeout is not None and timeout > 0 else None,
        on_timeout=OnTimeout(human.on_timeout),
        remind_every_seconds=human.remind_every_seconds,
        max_reminders=human.max_reminders if human.remind_every_seconds is not None else 0,
        request_type=RequestType(human.request_type),
        options=tuple(human.options),
        default_option=human.default_option,
        context=dict(human.context),
        response_role=human.response_role,
        on_reject=OnReject(human.on_reject),
        reject_goto=human.reject_goto,
    )


def _tools(spec: KneoSpec, registered: Mapping[str, ToolDefinition]) -> dict[str, ToolPlan]:
    names = dict.fromkeys(name for agent in agents(spec) for _, name in included(agent.spec))
    plans: dict[str, ToolPlan] = {}
    for name in names:
        tool = spec.tools.get(name)
        if tool is None:
            known = registered.get(name)
            # Without a registry at compile time, the name is all there is to pin.
            plans[name] = ToolPlan(known if known is not None else ToolDefinition(name, description=""))
            continue
        plans[name] = ToolPlan(
            declared(name, tool),
            implementation=tool.implementation,
            agent=(agent_key(spec, tool.agent) or tool.agent) if tool.agent is not None else None,
            mcp_server=tool.mcp.server if tool.mcp is not None else None,
            mcp_name=(tool.mcp.name or name) if tool.mcp is not None else None,
        )
    return plans
