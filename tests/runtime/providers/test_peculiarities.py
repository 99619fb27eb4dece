"""What single providers do in their own way."""

import asyncio
import threading
from dataclasses import replace
from typing import Any

import pytest

from kneo_serv.errors import MissingSecretError, ProviderError
from kneo_serv.model.plan import ModelPlan
from kneo_serv.runtime.model_runtime import ModelRuntime
from kneo_serv.testing.answers import Answer, completion, error, silence, text, tool_call
from kneo_serv.testing.scripted_server import ScriptedBedrock, ScriptedGoogle, ScriptedOpenAI, scripted
from tests.runtime.conversations import WEB_SEARCH, asked, user
from tests.runtime.providers.cases import CASES, KEY, POLICY, Case, found

HELLO = asked(user("hello"))
BY_NAME = {case.provider: case for case in CASES}

EXTRA: dict[str, tuple[dict[str, Any], tuple[tuple[str, ...], Any]]] = {
    "openai": ({"seed": 7}, (("seed",), 7)),
    "openai-responses": ({"store": False}, (("store",), False)),
    "anthropic": ({"top_k": 7}, (("top_k",), 7)),
    "google": ({"generationConfig": {"topK": 7}}, (("generationConfig", "topK"), 7)),
    "groq": ({"seed": 7}, (("seed",), 7)),
    "mistral": ({"random_seed": 7, "stop": "."}, (("random_seed",), 7)),
    "bedrock": ({"top_k": 7, "top_p": 0.5}, (("additionalModelRequestFields", "top_k"), 7)),
    "ollama": ({"keep_alive": "5m"}, (("keep_alive",), "5m")),
}


@pytest.mark.parametrize("provider", EXTRA)
@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
def test_extra_fields_go_along_in_the_words_of_the_provider(provider: str, streamed: bool) -> None:
    extra, (path, value) = EXTRA[provider]
    heard: list[str] = []
    request = replace(HELLO, on_text=heard.append) if streamed else HELLO
    with scripted(provider, [text("hi")]) as server:
        BY_NAME[provider].ask(server, request, extra=extra, temperature=0.25)

        assert found(server.requests[0], path) == value
        if provider != "bedrock":
            assert found(server.requests[0], BY_NAME[provider].temperature) == 0.25


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
def test_a_wish_that_gemini_could_not_put_together_is_tried_again(streamed: bool) -> None:
    heard: list[str] = []
    request = asked(user("tea?"), tools=(WEB_SEARCH,))
    request = replace(request, on_text=heard.append) if streamed else request
    with ScriptedGoogle([tool_call("web_search", "{broken"), text("Tea is a drink.")]) as server:
        (turn,) = BY_NAME["google"].ask(server, request)

        assert turn.text == "Tea is a drink."
        assert len(server.requests) == 2


def test_an_answer_that_gemini_withholds_is_an_error_and_no_empty_text() -> None:
    body = {"candidates": [{"finishReason": "SAFETY", "index": 0}], "usageMetadata": {"promptTokenCount": 4}}
    with ScriptedGoogle([completion(body)]) as server, pytest.raises(ProviderError, match="withheld") as caught:
        BY_NAME["google"].ask(server, HELLO)

    assert not caught.value.transient


def test_an_invalid_key_that_gemini_calls_an_invalid_argument_names_the_variable() -> None:
    details = [{"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID"}]
    body = {"error": {"code": 400, "message": "API key not valid.", "status": "INVALID_ARGUMENT", "details": details}}
    with ScriptedGoogle([Answer(body, 400)]) as server, pytest.raises(ProviderError, match="Check GOOGLE_API_KEY"):
        BY_NAME["google"].ask(server, HELLO)


def test_ollama_is_asked_without_any_key() -> None:
    with ScriptedOpenAI([text("hi")]) as server:
        (turn,) = replace(BY_NAME["ollama"], key_variable="UNUSED").ask(server, HELLO)

        assert turn.text == "hi"
        assert KEY not in str(server.headers)


def test_ollama_is_found_by_its_variable() -> None:
    async def scenario(url: str) -> str:
        runtime = ModelRuntime(model=ModelPlan("ollama", "m"), environ={"OLLAMA_BASE_URL": url}, policy=POLICY)
        turn = await runtime.turn(HELLO)
        await runtime.aclose()
        return turn.text

    with ScriptedOpenAI([text("hi")]) as server:
        assert asyncio.run(scenario(server.base_url)) == "hi"


def bedrock(server: ScriptedBedrock, environ: dict[str, str]) -> ModelRuntime:
    model = ModelPlan("bedrock", "amazon.nova-lite-v1:0", base_url=server.base_url)
    return ModelRuntime(model=model, environ=environ, policy=POLICY)


def test_bedrock_leaves_the_loop_free_while_it_waits() -> None:
    free = threading.Event()

    async def scenario() -> str:
        loop, asked_it = asyncio.get_running_loop(), asyncio.Event()

        def patient(_: dict[str, Any]) -> Answer:
            loop.call_soon_threadsafe(asked_it.set)
            return text("free") if free.wait(10) else error(400)

        with ScriptedBedrock(patient) as server:
            keys = {"AWS_REGION": "eu-west-1", "AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "s"}
            runtime = bedrock(server, keys)
            waiting = asyncio.create_task(runtime.turn(HELLO))
            await asked_it.wait()
            free.set()
            turn = await waiting
            await runtime.aclose()
            return turn.text

    assert asyncio.run(scenario()) == "free"


def test_bedrock_without_credentials_or_region_says_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_PROFILE", "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_ACCESS_KEY_ID", "AWS_BEARER_TOKEN_BEDROCK"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, "/dev/null")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with ScriptedBedrock() as server:
        with pytest.raises(ProviderError, match=r"^AWS_REGION is not set"):
            asyncio.run(bedrock(server, {}).turn(HELLO))
        with pytest.raises(MissingSecretError, match="AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"):
            asyncio.run(bedrock(server, {"AWS_REGION": "eu-west-1"}).turn(HELLO))
        assert server.requests == []


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.provider)
def test_a_turn_that_is_cancelled_lets_go_at_once(case: Case) -> None:
    async def scenario() -> None:
        loop, asked_it = asyncio.get_running_loop(), asyncio.Event()

        def quiet(_: dict[str, Any]) -> Answer:
            loop.call_soon_threadsafe(asked_it.set)
            return silence()

        with scripted(case.provider, quiet) as server:
            runtime = ModelRuntime(
                model=case.plan(server, timeout_seconds=20),
                environ={case.key_variable: KEY, **case.environ},
                policy=POLICY,
            )
            waiting = asyncio.create_task(runtime.turn(HELLO))
            await asked_it.wait()
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            await runtime.aclose()

    asyncio.run(scenario())
