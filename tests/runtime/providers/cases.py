"""One way of asking each provider, so that the same tests run over all of them."""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from kneo_serv.model.message import Turn, TurnRequest
from kneo_serv.model.plan import ModelPlan
from kneo_serv.runtime.attempts import Pace
from kneo_serv.runtime.model_runtime import ModelRuntime
from kneo_serv.runtime.retry import RetryPolicy
from kneo_serv.testing.scripted_server import ScriptedServer

KEY = "sk-canary-0123456789abcdef"
POLICY = RetryPolicy(max_retries=2, backoff_seconds=0.5, timeout_seconds=30.0)


@dataclass(frozen=True)
class Case:
    """What differs between providers as far as the tests are concerned."""

    provider: str
    model: str
    """One that takes a schema of the answer where the provider has any such."""
    key_variable: str
    temperature: tuple[str, ...]
    """Where it stands in the body of a request."""
    max_tokens: tuple[str, ...]
    schema: tuple[str, ...] | None
    """Where the schema of the answer stands; None where it is told in the instructions."""
    text_arguments: bool = True
    """Arguments of tools go over the wire as text, valid JSON or not."""
    environ: Mapping[str, str] = field(default_factory=dict)

    def plan(self, server: ScriptedServer, **fields: Any) -> ModelPlan:
        return ModelPlan(self.provider, fields.pop("name", self.model), base_url=server.base_url, **fields)

    def ask(
        self,
        server: ScriptedServer,
        *requests: TurnRequest,
        waits: list[float] | None = None,
        policy: RetryPolicy = POLICY,
        **fields: Any,
    ) -> list[Turn]:
        return self.ask_plan(self.plan(server, **fields), *requests, waits=waits, policy=policy)

    def ask_plan(
        self,
        plan: ModelPlan,
        *requests: TurnRequest,
        waits: list[float] | None = None,
        policy: RetryPolicy = POLICY,
    ) -> list[Turn]:
        waited = [] if waits is None else waits

        async def sleep(seconds: float) -> None:
            waited.append(seconds)

        async def scenario() -> list[Turn]:
            runtime = ModelRuntime(
                model=plan,
                environ={self.key_variable: KEY, **self.environ},
                policy=policy,
                pace=Pace(sleep=sleep, chance=lambda: 0.0),
            )
            try:
                return [await runtime.turn(request) for request in requests]
            finally:
                await runtime.aclose()

        return asyncio.run(scenario())


SCHEMA_IN_CHAT = ("response_format", "json_schema", "schema")

CASES = (
    Case("openai", "gpt-4o-mini", "OPENAI_API_KEY", ("temperature",), ("max_tokens",), SCHEMA_IN_CHAT),
    Case(
        "openai-responses",
        "gpt-4o-mini",
        "OPENAI_API_KEY",
        temperature=("temperature",),
        max_tokens=("max_output_tokens",),
        schema=("text", "format", "schema"),
    ),
    Case(
        "anthropic",
        "claude-sonnet-4-6",
        "ANTHROPIC_API_KEY",
        temperature=("temperature",),
        max_tokens=("max_tokens",),
        schema=("output_config", "format", "schema"),
        text_arguments=False,
    ),
    Case(
        "google",
        "gemini-3-pro-preview",
        "GOOGLE_API_KEY",
        temperature=("generationConfig", "temperature"),
        max_tokens=("generationConfig", "maxOutputTokens"),
        schema=("generationConfig", "responseJsonSchema"),
        text_arguments=False,
    ),
    Case("groq", "openai/gpt-oss-20b", "GROQ_API_KEY", ("temperature",), ("max_tokens",), SCHEMA_IN_CHAT),
    Case(
        "mistral",
        "mistral-large-latest",
        "MISTRAL_API_KEY",
        temperature=("temperature",),
        max_tokens=("max_tokens",),
        schema=None,
    ),
    Case(
        "bedrock",
        "anthropic.claude-sonnet-4-5-20250929-v1:0",
        "AWS_SECRET_ACCESS_KEY",
        temperature=("inferenceConfig", "temperature"),
        max_tokens=("inferenceConfig", "maxTokens"),
        schema=("outputConfig", "textFormat", "structure", "jsonSchema", "schema"),
        text_arguments=False,
        environ={"AWS_REGION": "eu-west-1", "AWS_ACCESS_KEY_ID": "AKIASCRIPTED"},
    ),
    Case("ollama", "llama3.2", "OLLAMA_API_KEY", ("temperature",), ("max_completion_tokens",), SCHEMA_IN_CHAT),
)


def found(body: Any, path: tuple[str, ...]) -> Any:
    """What stands at this place of a request."""
    for name in path:
        body = body[name]
    return body


def written(body: Any) -> str:
    """A request as text, for questions that do not care where something stands."""
    return json.dumps(body, ensure_ascii=False)
