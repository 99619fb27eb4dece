"""Which kind of foreign agent an object is, told without importing any library."""

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from kneo_serv.errors import ProviderError
from kneo_serv.observe import redact_error
from kneo_serv.runtime.adapters.plain import AdapterRuntime
from kneo_serv.runtime.protocol import Runtime


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of foreign agent and who adapts it."""

    title: str
    package: str
    """Where the library's own classes live."""
    classes: frozenset[str]
    """Names of classes of that package; an agent of this kind derives from all of them."""
    adapter: str
    """`module:class` of ours, called with the object and the adapter's name. It imports the library."""
    install: str

    def holds(self, found: object) -> bool:
        """Whether the object is of this kind."""
        names = {kind.__name__ for kind in type(found).__mro__ if _lies_in(kind.__module__, self.package)}
        return self.classes <= names


_HERE = "kneo_serv.runtime.adapters"
KINDS = (
    Kind(
        "a pydantic-ai agent",
        "pydantic_ai",
        frozenset({"AbstractAgent"}),
        f"{_HERE}.pydantic_ai_agent:PydanticAIAdapter",
        "pip install 'pydantic-ai-slim>=2.62'",
    ),
    Kind(
        "a LangChain runnable",
        "langchain_core",
        frozenset({"Runnable"}),
        f"{_HERE}.langchain:LangChainAdapter",
        "pip install 'kneo-serv[langchain]'",
    ),
    Kind(
        "an agent of the OpenAI Agents SDK",
        "agents",
        frozenset({"Agent", "AgentBase"}),
        f"{_HERE}.openai_agents:OpenAIAgentsAdapter",
        "pip install 'kneo-serv[openai-agents]'",
    ),
    Kind(
        "an agent or workflow of Google ADK",
        "google.adk",
        frozenset({"BaseNode"}),
        f"{_HERE}.google_adk:GoogleADKAdapter",
        "pip install 'kneo-serv[google-adk]'",
    ),
)


def adapted(found: Any, name: str) -> Runtime:
    """The runtime around a foreign agent or a plain callable. Imports the agent's library, which may take seconds.

    Raises:
        ProviderError: It is neither, or the installed version of its library lacks what is needed.
    """
    kind = next((kind for kind in KINDS if kind.holds(found)), None)
    if kind is not None:
        module, _, cls = kind.adapter.partition(":")
        try:
            make: Callable[[Any, str], Runtime] = getattr(importlib.import_module(module), cls)
        except Exception as error:
            text = (
                f"Adapter {name!r} is {kind.title}, and the installed version of its library lacks what is needed "
                f"({redact_error(str(error))}). Install one that fits: {kind.install}"
            )
            raise ProviderError(text, provider=name) from error
        return make(found, name)
    if callable(found):
        return AdapterRuntime(run_fn=found, name=name)
    titles = ", ".join(kind.title for kind in KINDS)
    text = f"Adapter {name!r} is a {type(found).__name__}. Name a function, or one of these: {titles}."
    raise ProviderError(text, provider=name)


def _lies_in(module: str, package: str) -> bool:
    return module == package or module.startswith(f"{package}.")
