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
