import subprocess
import sys

SCRIPT = """
import sys
from kneo_serv.model.message import Message, Role, TurnRequest
from kneo_serv.model.plan import AgentPlan, ModelPlan
from kneo_serv.runtime import default_registry
import asyncio

registry = default_registry(environ={})
agent = AgentPlan("a", model=ModelPlan("openai", "m"))
assert registry.problem(agent) is None
registry.create(agent)
asyncio.run(registry.create(AgentPlan("b")).turn(TurnRequest("b", (Message(Role.USER, "hi"),))))
print(*sorted({"pydantic_ai", "pydantic", "openai", "httpx", "httpx2", "httpcore2", "anyio"} & sys.modules.keys()))
"""


def test_no_model_library_is_imported_before_a_real_model_is_asked() -> None:
    result = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True)

    assert result.stdout.strip() == ""


WITHOUT_LIBRARIES = """
import sys
sys.modules["pydantic_ai"] = None
import asyncio
from kneo_serv.errors import MissingExtraError
from kneo_serv.model.message import TurnRequest
from kneo_serv.model.plan import AgentPlan, ModelPlan
from kneo_serv.runtime import default_registry
from kneo_serv.runtime.openai import OpenAIRuntime
from kneo_serv.runtime.retry import RetryPolicy

model = ModelPlan("openai", "m", extra={"api_key": "k"})
print(default_registry(environ={}).problem(AgentPlan("a", model=model)))
try:
    asyncio.run(OpenAIRuntime(model=model, environ={}, policy=RetryPolicy()).turn(TurnRequest("a", ())))
except MissingExtraError as error:
    print(error)
"""


def test_a_missing_model_library_is_told_with_the_command_that_installs_it() -> None:
    result = subprocess.run([sys.executable, "-c", WITHOUT_LIBRARIES], capture_output=True, text=True, check=True)
    beforehand, at_the_turn = result.stdout.splitlines()

    assert beforehand == f"Agent 'a' cannot run: {at_the_turn}"
    assert "pip install 'pydantic-ai-slim[openai]'" in at_the_turn
