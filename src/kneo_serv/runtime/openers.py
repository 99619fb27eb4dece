"""How a model of each provider is opened through pydantic-ai. Imports the model library: load it late.

Each function imports the provider's own library, makes a client that tries nothing again by itself (attempts are
counted and spaced in one place, ours), and says how it is closed.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

from pydantic_ai.exceptions import UnexpectedModelBehavior
from pydantic_ai.models import Model, create_async_http_client, create_async_httpx2_client
from pydantic_ai.models.ollama import OllamaModel
from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel
from pydantic_ai.profiles.openai import OpenAIModelProfile
from pydantic_ai.providers.ollama import OllamaProvider
from pydantic_ai.providers.openai import OpenAIProvider
from pydantic_ai.settings import ModelSettings

from kneo_serv.errors import ProviderError
from kneo_serv.model.plan import ModelPlan
from kneo_serv.model.secret import Secrets
from kneo_serv.runtime.completion import completed
from kneo_serv.runtime.endpoint import Endpoint

_CONNECT_SECONDS = 5.0
_BOTO_CONNECTIONS = 100
_NO_KEY = "no-key"
"""Stands in for the key of a server that needs none, since the client insists on some text."""


@dataclass(frozen=True, slots=True, repr=False)
class Opening:
    """What is opened. No text form, since it holds the key."""

    model: ModelPlan
    endpoint: Endpoint
    key: str
    """Empty where none is needed."""
    secrets: Secrets
    timeout_seconds: float | None

    def settings(self, *names: str, **more: Any) -> ModelSettings:
        """The settings of every request: those fields of the plan that are set and named here, and some more."""
        offered = {
            "temperature": self.model.temperature,
            "max_tokens": self.model.max_tokens,
            "timeout": self.timeout_seconds,
            "extra_body": self.endpoint.extras() or None,
        }
        chosen = {name: offered[name] for name in names if offered[name] is not None}
        return cast("ModelSettings", chosen | more)


@dataclass(frozen=True, slots=True)
class Opened:
    """A model of the library, what goes along with every request to it, and how it is let go of."""

    model: Model
    settings: ModelSettings
    close: Callable[[], Awaitable[None]]


_BODY = ("temperature", "max_tokens", "timeout", "extra_body")


def open_openai(opening: Opening) -> Opened:
    """A model behind OpenAI's chat completions, or behind a server that speaks them."""
    client = create_async_httpx2_client()
    provider = OpenAIProvider(base_url=opening.endpoint.base_url, api_key=opening.key, http_client=client)
    provider.client.max_retries = 0
    # Servers that merely speak like OpenAI's know the older name of the field, and many know only that one.
    profile = OpenAIModelProfile(openai_chat_supports_max_completion_tokens=opening.endpoint.is_own)
    model = _LenientChatModel(opening.model.name, provider=provider, profile=profile)
    return Opened(model, opening.settings(*_BODY), client.aclose)


def open_openai_responses(opening: Opening) -> Opened:
    """A model behind OpenAI's responses API."""
    client = create_async_httpx2_client()
    provider = OpenAIProvider(base_url=opening.endpoint.base_url, api_key=opening.key, http_client=client)
    provider.client.max_retries = 0
    return Opened(OpenAIResponsesModel(opening.model.name, provider=provider), opening.settings(*_BODY), client.aclose)


def open_ollama(opening: Opening) -> Opened:
    """A model that Ollama serves, on this machine or in its cloud."""
    client = create_async_httpx2_client()
    provider = OllamaProvider(base_url=opening.endpoint.base_url, api_key=opening.key or _NO_KEY, http_client=client)
    provider.client.max_retries = 0
    return Opened(_LenientOllamaModel(opening.model.name, provider=provider), opening.settings(*_BODY), client.aclose)


def open_anthropic(opening: Opening) -> Opened:
    """A model behind Anthropic's messages API."""
    from pydantic_ai.models.anthropic import AnthropicModel
    from pydantic_ai.providers.anthropic import AnthropicProvider

    client = create_async_httpx2_client()
    provider = AnthropicProvider(api_key=opening.key, base_url=opening.endpoint.base_url, http_client=client)
    provider.client.max_retries = 0
    return Opened(AnthropicModel(opening.model.name, provider=provider), opening.settings(*_BODY), client.aclose)


def open_google(opening: Opening) -> Opened:
    """A model behind the Gemini API."""
    from google.genai import Client
    from google.genai.types import HttpOptions
    from pydantic_ai.models.google import GoogleModel
    from pydantic_ai.providers.google import GoogleProvider

    client = create_async_httpx2_client()
    options = HttpOptions(
        base_url=opening.endpoint.base_url,
        httpx_async_client=client,
        timeout=int(1000 * opening.timeout_seconds) if opening.timeout_seconds else None,
        extra_body=opening.endpoint.extras() or None,
    )
    google = Client(vertexai=False, api_key=opening.key, http_options=options)

    async def close() -> None:
        google.close()
        await client.aclose()

    model = GoogleModel(opening.model.name, provider=GoogleProvider(client=google))
    return Opened(model, opening.settings("temperature", "max_tokens", "timeout"), close)


def open_groq(opening: Opening) -> Opened:
    """A model that Groq serves."""
    from pydantic_ai.models.groq import GroqModel
    from pydantic_ai.providers.groq import GroqProvider

    client = create_async_http_client()
    provider = GroqProvider(api_key=opening.key, base_url=opening.endpoint.base_url, http_client=client)
    provider.client.max_retries = 0
    return Opened(GroqModel(opening.model.name, provider=provider), opening.settings(*_BODY), client.aclose)


_MISTRAL_SETTINGS = {
    "frequency_penalty": "frequency_penalty",
    "presence_penalty": "presence_penalty",
    "prompt_cache_key": "mistral_prompt_cache_key",
    "random_seed": "seed",
    "stop": "stop_sequences",
    "top_p": "top_p",
}
"""Fields of Mistral's API to the settings that the library takes, which has no way for others."""


def open_mistral(opening: Opening) -> Opened:
    """A model behind Mistral's chat completions."""
    from pydantic_ai.models.mistral import MistralModel
    from pydantic_ai.providers.mistral import MistralProvider

    client = create_async_httpx2_client()
    provider = MistralProvider(api_key=opening.key, base_url=opening.endpoint.base_url, http_client=client)
    extras = opening.endpoint.extras()
    if isinstance(extras.get("stop"), str):
        extras["stop"] = [extras["stop"]]
    more = {_MISTRAL_SETTINGS[name]: value for name, value in extras.items()}
    settings = opening.settings("temperature", "max_tokens", "timeout", **more)
    return Opened(MistralModel(opening.model.name, provider=provider), settings, client.aclose)


def open_bedrock(opening: Opening) -> Opened:
    """A model that Amazon Bedrock serves through its Converse API. boto3 does its work in threads of its own.

    Raises:
        ProviderError: No region is set anywhere.
    """
    import boto3  # type: ignore[import-untyped]
    from botocore.config import Config  # type: ignore[import-untyped]
    from botocore.exceptions import NoRegionError, ProfileNotFound  # type: ignore[import-untyped]
    from pydantic_ai.models.bedrock import BedrockConverseModel
    from pydantic_ai.providers.bedrock import BedrockProvider

    value = opening.secrets.value
    config: dict[str, Any] = {
        "connect_timeout": min(_CONNECT_SECONDS, opening.timeout_seconds or _CONNECT_SECONDS),
        "read_timeout": opening.timeout_seconds,
        "retries": {"total_max_attempts": 1},
        "max_pool_connections": _BOTO_CONNECTIONS,
    }
    names: dict[str, Any] = {
        "region_name": value("AWS_REGION") or value("AWS_DEFAULT_REGION") or None,
        "profile_name": value("AWS_PROFILE") or None,
    }
    try:
        if opening.key:
            session = boto3.Session(botocore_session=_bearer_session(opening.key), **names)
            config["signature_version"] = "bearer"
        elif value("AWS_ACCESS_KEY_ID"):
            session = boto3.Session(
                aws_access_key_id=value("AWS_ACCESS_KEY_ID"),
                aws_secret_access_key=value("AWS_SECRET_ACCESS_KEY") or None,
                aws_session_token=value("AWS_SESSION_TOKEN") or None,
                **names,
            )
        else:
            session = boto3.Session(**names)
        client = session.client(
            "bedrock-runtime", config=Config(**config), endpoint_url=opening.endpoint.base_url or None
        )
    except NoRegionError:
        raise ProviderError(
            "AWS_REGION is not set: provider 'bedrock' needs a region. Set the environment variable, or AWS_PROFILE to "
            "a profile that names one.",
            provider="bedrock",
        ) from None
    except ProfileNotFound as error:
        raise ProviderError(f"AWS_PROFILE: {error}.", provider="bedrock") from None

    async def close() -> None:
        client.close()

    extras = opening.endpoint.extras()
    more: dict[str, Any] = {name: extras.pop(name) for name in ("top_p", "stop_sequences") if name in extras}
    if extras:
        more["bedrock_additional_model_requests_fields"] = extras
    model = BedrockConverseModel(opening.model.name, provider=BedrockProvider(bedrock_client=client))
    return Opened(model, opening.settings("temperature", "max_tokens", **more), close)


def _bearer_session(token: str) -> Any:
    from botocore.session import Session  # type: ignore[import-untyped]
    from botocore.tokens import FrozenAuthToken  # type: ignore[import-untyped]

    session = Session()
    session.get_auth_token = lambda **_: FrozenAuthToken(token)
    session.get_credentials = lambda: None
    return session


class _LenientChatModel(OpenAIChatModel):
    """Takes the completions of servers that leave out what OpenAI always sends."""

    def _validate_completion(self, response: Any) -> Any:
        document: Mapping[str, Any] = completed(response.model_dump(warnings=False), model_name=self.model_name)
        if not document["choices"]:
            raise UnexpectedModelBehavior("no choices")
        return super()._validate_completion(type(response).model_construct(**document))


class _LenientOllamaModel(_LenientChatModel, OllamaModel):
    """The same for Ollama."""
