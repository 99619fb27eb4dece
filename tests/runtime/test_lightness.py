import subprocess
import sys

SCRIPT = """
import sys
from kneo_serv.model.message import Message, Role, TurnRequest
from kneo_serv.model.plan import AgentPlan, ModelPlan
from kneo_serv.runtime import default_registry
import asyncio

from kneo_serv.runtime.providers import PROVIDERS

keys = {name: "k" for provider in PROVIDERS.values() for name in provider.key_variables} | {"AWS_REGION": "eu-west-1"}
registry = default_registry(environ=keys)
for provider in PROVIDERS:
    agent = AgentPlan("a", model=ModelPlan(provider, "m"))
    assert registry.problem(agent) is None, registry.problem(agent)
    registry.create(agent)
asyncio.run(registry.create(AgentPlan("b")).turn(TurnRequest("b", (Message(Role.USER, "hi"),))))
heavy = {"pydantic_ai", "pydantic", "openai", "anthropic", "google.genai", "groq", "mistralai", "boto3", "botocore"}
print(*sorted((heavy | {"httpx", "httpx2", "httpcore2", "anyio", "genai_prices"}) & sys.modules.keys()))
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
from kneo_serv.runtime.providers import PROVIDERS

registry = default_registry(environ={"AWS_REGION": "eu-west-1"})
for provider in PROVIDERS.values():
    agent = AgentPlan("a", model=ModelPlan(provider.name, "m", extra={"api_key": "k"}))
    beforehand = registry.problem(agent)
    try:
        asyncio.run(registry.create(agent).turn(TurnRequest("a", ())))
    except MissingExtraError as error:
        assert beforehand == f"Agent 'a' cannot run: {error}", beforehand
        print(provider.name, str(error).partition("Install them with: ")[2], sep=": ")
"""


def test_a_missing_library_is_told_beforehand_and_at_the_turn_with_the_command_that_installs_it() -> None:
    result = subprocess.run([sys.executable, "-c", WITHOUT_LIBRARIES], capture_output=True, text=True, check=True)

    assert result.stdout.splitlines() == [
        "openai: pip install 'pydantic-ai-slim[openai]'",
        "openai-responses: pip install 'pydantic-ai-slim[openai]'",
        "anthropic: pip install 'kneo-serv[anthropic]'",
        "google: pip install 'kneo-serv[google]'",
        "groq: pip install 'kneo-serv[groq]'",
        "mistral: pip install 'kneo-serv[mistral]'",
        "bedrock: pip install 'kneo-serv[bedrock]'",
        "ollama: pip install 'kneo-serv[ollama]'",
    ]
