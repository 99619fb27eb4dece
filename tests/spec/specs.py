"""Small specs for the tests of this room."""

from textwrap import dedent
from typing import Any

from kneo_serv.model.plan import AgentPlan
from kneo_serv.model.tool import Capability, Effect, ToolDefinition
from kneo_serv.spec import Diagnostic, SpecCompiler
from kneo_serv.spec.reader import read_text

HEAD = "version: v1\nagent:\n  name: root\n"


class Tools:
    """A tool registry with three tools."""

    def __init__(self) -> None:
        self.definitions = {
            "lookup_user": ToolDefinition("lookup_user", "Return the email for a user id.", {"type": "object"}),
            "web_search": ToolDefinition(
                "web_search", "Search.", capabilities=(Capability.NETWORK,), effect=Effect.IDEMPOTENT
            ),
            "shell": ToolDefinition("shell", "Run.", capabilities=(Capability.SHELL,), effect=Effect.ONCE),
        }


class Runtimes:
    """A runtime registry that knows the provider dummy only."""

    def problem(self, agent: AgentPlan) -> str | None:
        if agent.model is None or agent.model.provider == "dummy":
            return None
        return f"There is no provider `{agent.model.provider}` here."


def compiler(*, tools: Any = None) -> SpecCompiler:
    return SpecCompiler(runtime_registry=None, tool_registry=tools or Tools())


def spec(text: str) -> str:
    """The text without its common indent."""
    return dedent(text).lstrip("\n")


def data(text: str) -> dict[str, Any]:
    return read_text(spec(text)).data()


def findings(text: str, tmp_path: Any) -> list[Diagnostic]:
    path = tmp_path / "spec.yaml"
    path.write_text(spec(text), encoding="utf-8")
    return compiler().validate(path).diagnostics
