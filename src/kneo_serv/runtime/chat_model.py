"""One request to a chat completions API through pydantic-ai. Imports the model library: load it late."""

from typing import Any

from pydantic_ai.direct import model_request
from pydantic_ai.exceptions import ModelAPIError, ModelConnectionError, ModelHTTPError, UnexpectedModelBehavior
from pydantic_ai.models import ModelRequestParameters
from pydantic_ai.models.openai import OpenAIChatModel, OpenAIChatModelSettings
from pydantic_ai.profiles.openai import OpenAIModelProfile
from pydantic_ai.providers.openai import OpenAIProvider

from kneo_serv.errors import ProviderError
from kneo_serv.model.message import Turn, TurnRequest
from kneo_serv.model.plan import ModelPlan
from kneo_serv.runtime.attempts import Setback
from kneo_serv.runtime.completion import completed
from kneo_serv.runtime.conversation import as_turn, history, offered
from kneo_serv.runtime.endpoint import Endpoint

_LONGEST_DETAIL = 300


class ChatModel:
    """A model behind one HTTP client. Belongs to the event loop of its first request."""

    def __init__(self, model: ModelPlan, endpoint: Endpoint, *, key: str, timeout_seconds: float | None) -> None:
        self._plan = model
        self._endpoint = endpoint
        self._key = key
        provider = OpenAIProvider(base_url=endpoint.base_url, api_key=key)
        provider.client.max_retries = 0  # attempts are counted and spaced in one place, ours
        self._client = provider.client
        # Servers that merely speak like OpenAI's know the older name of the field, and many know only that one.
        profile = OpenAIModelProfile(openai_chat_supports_max_completion_tokens=endpoint.is_openai)
        self._model = _LenientChatModel(model.name, provider=provider, profile=profile)
        self._settings = _settings(model, endpoint, timeout_seconds)

    async def ask(self, request: TurnRequest) -> Turn:
        """The answer to one request.

        Raises:
            Setback: It may work a moment later.
            ProviderError: It will not.
        """
        parameters = ModelRequestParameters(function_tools=offered(request.tools))
        messages = history(request.messages)
        try:
            response = await model_request(
                self._model, messages, model_settings=self._settings, model_request_parameters=parameters
            )
        except ModelHTTPError as error:
            # No cause is chained to any of these: the library's errors quote what the server said, key and all.
            raise self._refusal(error) from None
        except ModelConnectionError as error:
            raise Setback(self._says(f"could not be reached ({self._detail(error.message)}).")) from None
        except ModelAPIError as error:
            raise Setback(self._says(f"gave no usable answer ({self._detail(error.message)}).")) from None
        except UnexpectedModelBehavior:
            raise self._failure("gave an answer that is no chat completion.") from None
        return as_turn(response)

    async def aclose(self) -> None:
        """Close the HTTP client."""
        await self._client.close()

    def _refusal(self, error: ModelHTTPError) -> Exception:
        status = error.status_code
        if status in (401, 403):
            return self._failure(f"refused the API key (HTTP {status}). Check {self._endpoint.key_source}.")
        body = error.body if isinstance(error.body, dict) else {}
        inner = body.get("error")
        fields: dict[str, Any] = inner if isinstance(inner, dict) else body
        detail = self._detail(str(fields.get("message") or ""))
        text = f"answered HTTP {status}{': ' + detail if detail else ''}."
        # Used-up credit is told like a full moment, yet waiting does not help.
        if (status in (408, 429) or status >= 500) and fields.get("code") != "insufficient_quota":
            return Setback(self._says(text), retry_after=error.retry_after)
        return self._failure(text)

    def _failure(self, text: str) -> ProviderError:
        return ProviderError(self._says(text), provider=self._plan.provider)

    def _says(self, text: str) -> str:
        return f"Provider {self._plan.provider!r} (model {self._plan.name!r} at {self._endpoint.place}) {text}"

    def _detail(self, text: str) -> str:
        clean = " ".join(text.replace(self._key, "***").split()).rstrip(".")
        return clean if len(clean) <= _LONGEST_DETAIL else f"{clean[:_LONGEST_DETAIL]}..."


class _LenientChatModel(OpenAIChatModel):
    """Takes the completions of servers that leave out what OpenAI always sends."""

    def _validate_completion(self, response: Any) -> Any:
        document = completed(response.model_dump(warnings=False), model_name=self.model_name)
        if not document["choices"]:
            raise UnexpectedModelBehavior("no choices")
        return super()._validate_completion(type(response).model_construct(**document))


def _settings(model: ModelPlan, endpoint: Endpoint, timeout_seconds: float | None) -> OpenAIChatModelSettings:
    settings = OpenAIChatModelSettings()
    if model.temperature is not None:
        settings["temperature"] = model.temperature
    if model.max_tokens is not None:
        settings["max_tokens"] = model.max_tokens
    if timeout_seconds is not None:
        settings["timeout"] = timeout_seconds
    if extras := endpoint.request_extras():
        settings["extra_body"] = extras
    return settings
