import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
from agents import Agent as OpenAIAgent
from google.adk.agents import LlmAgent
from google.adk.workflow import START, Workflow
from langchain_core.language_models import FakeListChatModel
from langchain_core.output_parsers import StrOutputParser
from langchain_core.runnables import RunnableLambda
from pydantic_ai import Agent as PydanticAgent
from pydantic_ai.agent import WrapperAgent

from kneo_serv.errors import ProviderError
from kneo_serv.runtime.adapters.kinds import adapted


def plain(text: str) -> str:
    return text


class Agent:
    """Called like the SDK's, and none of it."""

    def __call__(self, text: str) -> str:
        return text


def kind_of(found: Any) -> str:
    return type(adapted(found, "shop.agent")).__name__


@pytest.mark.parametrize(
    ("make", "adapter"),
    [
        (lambda: plain, "AdapterRuntime"),
        (lambda: Agent(), "AdapterRuntime"),
        (lambda: PydanticAgent, "AdapterRuntime"),  # a class is called like a function
        (lambda: PydanticAgent("test"), "PydanticAIAdapter"),
        (lambda: WrapperAgent(PydanticAgent("test")), "PydanticAIAdapter"),
        (lambda: RunnableLambda(plain), "LangChainAdapter"),
        (lambda: FakeListChatModel(responses=["hi"]) | StrOutputParser(), "LangChainAdapter"),
        (lambda: OpenAIAgent(name="seller"), "OpenAIAgentsAdapter"),
        (lambda: LlmAgent(name="seller"), "GoogleADKAdapter"),
        (lambda: Workflow(name="both", edges=[(START, plain)]), "GoogleADKAdapter"),
    ],
)
def test_what_lies_at_a_path_is_known_by_its_class(make: Callable[[], Any], adapter: str) -> None:
    assert kind_of(make()) == adapter


@pytest.mark.parametrize("found", [3, "shop.agent", None, {"agent": plain}, sys])
def test_what_is_neither_a_function_nor_an_agent_is_refused(found: Any) -> None:
    with pytest.raises(ProviderError) as caught:
        adapted(found, "shop.agent")

    assert caught.value.message == (
        f"Adapter 'shop.agent' is a {type(found).__name__}. Name a function, or one of these: a pydantic-ai agent, "
        "a LangChain runnable, an agent of the OpenAI Agents SDK, an agent or workflow of Google ADK."
    )


OLD_VERSION = """
import sys
from {package} import {name}
found = {make}
{break_it}
from kneo_serv.errors import ProviderError
from kneo_serv.runtime.adapters.kinds import adapted
try:
    adapted(found, "shop.agent")
except ProviderError as error:
    print(error)
"""


@pytest.mark.parametrize(
    ("package", "name", "make", "break_it", "install"),
    [
        (
            "langchain_core.runnables",
            "RunnableLambda",
            "RunnableLambda(str)",
            "sys.modules['langchain_core.outputs'] = None",
            "pip install 'kneo-serv[langchain]'",
        ),
        (
            "agents",
            "Agent",
            "Agent(name='a')",
            "del sys.modules['agents'].Runner",
            "pip install 'kneo-serv[openai-agents]'",
        ),
        (
            "google.adk.agents",
            "LlmAgent",
            "LlmAgent(name='a')",
            "sys.modules['google.adk.runners'] = None",
            "pip install 'kneo-serv[google-adk]'",
        ),
        (
            "pydantic_ai",
            "Agent",
            "Agent('test')",
            "del sys.modules['pydantic_ai.capabilities'].ReinjectSystemPrompt",
            "pip install 'pydantic-ai-slim>=2.62'",
        ),
    ],
)
def test_a_version_that_lacks_what_is_needed_is_told_with_the_mend(
    package: str, name: str, make: str, break_it: str, install: str
) -> None:
    script = OLD_VERSION.format(package=package, name=name, make=make, break_it=break_it)
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)

    assert "the installed version of its library lacks what is needed" in result.stdout
    assert result.stdout.strip().endswith(f"Install one that fits: {install}")


LIGHT = """
import sys
from kneo_serv.runtime.adapters.kinds import adapted
adapted(str, "shop.agent")
print(*sorted({"agents", "google", "langchain_core", "pydantic", "pydantic_ai"} & sys.modules.keys()))
"""


def test_a_plain_function_costs_no_library() -> None:
    result = subprocess.run([sys.executable, "-c", LIGHT], capture_output=True, text=True, check=True)

    assert result.stdout.strip() == ""
