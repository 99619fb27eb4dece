"""Agents that say what the test tells them, and what they were told."""

from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kneo_serv.model.message import Message, ToolCall, Turn, TurnRequest, Usage
from kneo_serv.model.plan import AgentPlan, Plan
from kneo_serv.platform.doctor import check_journals
from kneo_serv.platform.platform import Platform
from kneo_serv.runtime import RuntimeRegistry
from kneo_serv.spec import SpecCompiler
from kneo_serv.store.sqlite import SQLiteStore
from kneo_serv.tools import ToolRegistry, current_call
from tests.platform.worlds import options

type Line = str | Turn | Callable[[str], str]

HEARD: defaultdict[str, list[str]] = defaultdict(list)
"""What each function below was given."""


def polite(text: str) -> bool:
    HEARD["polite"].append(text)
    return "please" in text


def rephrase(text: str) -> dict[str, Any]:
    return {"passed": "please" in text, "reason": "rude", "revised_text": f"{text}, please", "metadata": {"words": 1}}


def broken(text: str) -> bool:
    raise ValueError(f"cannot judge {text}")


def vague(text: str) -> str:
    return "maybe"


def shorten(text: str) -> str:
    HEARD["shorten"].append(text)
    return f"{len(text.splitlines())} lines"


def look_up(text: str, *, top_k: int) -> list[str]:
    HEARD["look_up"].append(text)
    return [f"fact {number} about {text}" for number in range(top_k)]


def upper(text: str) -> str:
    return text.upper()


FUNCTIONS = ("polite", "rephrase", "broken", "vague", "shorten", "look_up", "upper")


def pay(args: dict[str, Any]) -> str:
    HEARD["pay"].append(f"{args['amount']} {current_call().idempotency_key}")
    return f"paid {args['amount']}"


def look(args: dict[str, Any]) -> str:
    HEARD["look"].append(str(args))
    return "seen"


TOOLS: dict[str, dict[str, Any]] = {
    "pay": {
        "description": "Pays.",
        "parameters": {
            "type": "object",
            "properties": {"amount": {"type": "number"}},
            "required": ["amount"],
            "additionalProperties": False,
        },
        "effect": "once",
    },
    "look": {"description": "Looks.", "effect": "idempotent"},
}


def with_tools(*names: str, strategy: Any = "react", **more: Any) -> dict[str, Any]:
    """Of an agent that may call these tools."""
    return {"strategy": strategy, "tools": {"include": list(names)}, **more}


def calls(*wishes: tuple[str, dict[str, Any]], text: str = "") -> Turn:
    """A model's wish to call tools."""
    return Turn(text, tuple(ToolCall(f"c{place}", name, args) for place, (name, args) in enumerate(wishes)))


def spec(agent: dict[str, Any] | None = None, *steps: dict[str, Any], **agents: dict[str, Any]) -> dict[str, Any]:
    """The root agent, alone or with a sequence of steps."""
    functions = {name: {"implementation": f"{__name__}.{name}", "effect": "idempotent"} for name in FUNCTIONS}
    return {
        "version": "v1",
        "agent": {"name": "root", **(agent or {})},
        **({"workflow": {"type": "sequential", "steps": list(steps)}} if steps else {}),
        "components": {
            "functions": functions,
            "agents": {name: {"name": name, **one} for name, one in agents.items()},
            "humans": {"person": {"description": "Go on?"}},
        },
    }


def compiled(
    agent: dict[str, Any] | None = None,
    *steps: dict[str, Any],
    tools: dict[str, dict[str, Any]] | None = None,
    budget: dict[str, Any] | None = None,
    **agents: dict[str, Any],
) -> Plan:
    """The plan; `tools` are laid over those of TOOLS."""
    document = spec(agent, *steps, **agents)
    names = {**TOOLS, **(tools or {})}
    document["tools"] = {
        name: tool if "agent" in tool else {"implementation": f"{__name__}.{name}", **TOOLS.get(name, {}), **tool}
        for name, tool in names.items()
    }
    if budget is not None:
        document["budget"] = budget
    compiler = SpecCompiler(runtime_registry=RuntimeRegistry(), tool_registry=ToolRegistry())
    return compiler.compile_dict(document).plan


@dataclass
class Speakers:
    """By agent's name what it says: one line for ever, or a list that is used up; what is heard last by default."""

    lines: dict[str, Line | list[Line]] = field(default_factory=dict)
    told: list[tuple[str, tuple[Message, ...]]] = field(default_factory=list)
    tokens: int = 0

    def create(self, agent: AgentPlan) -> "Speaker":
        return Speaker(self, agent.name)

    def told_to(self, name: str) -> list[list[tuple[str, str]]]:
        """Each conversation that this agent was given, as pairs of role and text."""
        return [
            [(message.role.value, message.content) for message in messages]
            for agent, messages in self.told
            if agent == name
        ]


@dataclass
class Speaker:
    stage: Speakers
    name: str

    async def turn(self, request: TurnRequest) -> Turn:
        self.stage.told.append((self.name, request.messages))
        line = self.stage.lines.get(self.name, lambda heard: f"{self.name} heard {heard}")
        if isinstance(line, list):
            line = line.pop(0)
        if isinstance(line, Turn):
            return line
        text = line if isinstance(line, str) else line(request.messages[-1].content)
        return Turn(text, usage=Usage(self.stage.tokens, 0, 1))

    async def aclose(self) -> None:
        pass


@asynccontextmanager
async def opened(path: Path, speakers: Speakers, *, timeout: float = 5, **more: Any) -> AsyncIterator[Platform]:
    """A platform on `path/runs.sqlite` whose agents speak by the script. It is left after `timeout` seconds."""
    platform = Platform(
        store=SQLiteStore(path / "runs.sqlite"), tools=ToolRegistry(), runtimes=speakers, options=options(**more)
    )
    await platform.open()
    try:
        yield platform
        assert await check_journals(platform.store) == []
    finally:
        await platform.close(timeout=timeout)
