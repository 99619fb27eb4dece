"""What went wrong at a provider, in our words and without secrets. Imports the model library: load it late."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from pydantic_ai.exceptions import (
    ContentFilterError,
    ModelAPIError,
    ModelAuthenticationError,
    ModelConnectionError,
    ModelHTTPError,
    ModelQuotaExceededError,
    ModelRateLimitError,
    ModelRequestRejectedError,
    ModelServerError,
    ModelUnavailableError,
    UnexpectedModelBehavior,
    UserError,
)

from kneo_serv.errors import KneoError, MissingSecretError, ProviderError
from kneo_serv.model.plan import ModelPlan
from kneo_serv.observe import redact_text
from kneo_serv.runtime.attempts import Setback
from kneo_serv.runtime.endpoint import Endpoint

_LONGEST_DETAIL = 300
_LONGEST_PLACEHOLDER = 4
_MAY_PASS = frozenset({408, 409, 425, 429})
"""HTTP statuses below 500 after which the same request may work a moment later."""
_AWS_SOURCES = "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE, or AWS_BEARER_TOKEN_BEDROCK"


class Failures:
    """Translates the library's errors for one model. What it passes on never holds the key."""

    def __init__(self, model: ModelPlan, endpoint: Endpoint, key: str) -> None:
        self._model = model
        self._endpoint = endpoint
        self._key = key

    @contextmanager
    def translated(self) -> Iterator[None]:
        """Within it, whatever the library raises becomes one of ours.

        No cause is chained to any of them: the library's errors quote what the server said, key and all.

        Raises:
            Setback: It may work a moment later.
            ProviderError: It will not.
            MissingSecretError: No credentials are found where they are needed.
        """
        try:
            yield
        except (KneoError, Setback):
            raise
        except Exception as error:  # noqa: BLE001 - a provider's library may raise anything
            raise self._translation(error) from None

    def _translation(self, error: Exception) -> Exception:
        match error:
            case ModelHTTPError():
                return self._refusal(error)
            case ModelConnectionError():
                return Setback(self._says(f"could not be reached ({self._detail(error.message)})."))
            case ModelRateLimitError() | ModelUnavailableError() | ModelServerError():
                return Setback(self._says(f"failed ({self._detail(error.message)})."), retry_after=error.retry_after)
            case ModelRequestRejectedError() | ModelQuotaExceededError():
                return self._failure(f"refused the request ({self._detail(error.message)}).")
            case ModelAPIError():
                return Setback(self._says(f"gave no usable answer ({self._detail(error.message)})."))
            case ContentFilterError():
                return self._failure("withheld its answer: its content filter stopped it.")
            case UnexpectedModelBehavior():
                return self._failure("gave an answer that cannot be read.")
            case UserError():
                return self._failure(f"cannot be asked like this: {self._detail(str(error))}.")
            case _:
                return self._unforeseen(error)

    def _refusal(self, error: ModelHTTPError) -> Exception:
        status = error.status_code
        detail = self._detail(_message(error.body))
        told = f"HTTP {status}{': ' + detail if detail else ''}"
        if status == 401 or (status != 403 and isinstance(error, ModelAuthenticationError)):
            # What the provider says here quotes the key, or parts of it.
            return self._failure(f"refused the API key (HTTP {status}). Check {self._key_source}.")
        if status == 403:
            return self._failure(f"refused the API key ({told}). Check {self._key_source} and what it may be used for.")
        # Used-up credit is told like a full moment, yet waiting does not help.
        permanent = isinstance(error, ModelQuotaExceededError)
        if (status in _MAY_PASS or status >= 500) and not permanent:
            return Setback(self._says(f"answered {told}."), retry_after=error.retry_after)
        return self._failure(f"answered {told}.")

    def _unforeseen(self, error: Exception) -> Exception:
        kind = type(error).__name__
        # Of boto3's credential chain; its classes are not imported, since another provider may be asked.
        if kind in ("NoCredentialsError", "PartialCredentialsError", "CredentialRetrievalError"):
            return MissingSecretError(f"{self._says('got no AWS credentials.')} Set {_AWS_SOURCES}.")
        return self._failure(f"failed ({kind}: {self._detail(str(error))}).")

    @property
    def _key_source(self) -> str:
        return _AWS_SOURCES if self._model.provider == "bedrock" and not self._key else self._endpoint.key_source

    def _failure(self, text: str) -> ProviderError:
        return ProviderError(self._says(text), provider=self._model.provider)

    def _says(self, text: str) -> str:
        return f"Provider {self._model.provider!r} (model {self._model.name!r} at {self._endpoint.place}) {text}"

    def _detail(self, text: str) -> str:
        for secret in (self._key, *self._endpoint.hidden):
            # What is as short as this is no secret, and masking it would eat half of the text.
            text = text.replace(secret, "***") if len(secret) > _LONGEST_PLACEHOLDER else text
        clean = " ".join(redact_text(text).split()).rstrip(".")
        return clean if len(clean) <= _LONGEST_DETAIL else f"{clean[:_LONGEST_DETAIL]}..."


def _message(body: Any) -> str:
    """What a provider says in the body of an error, whichever of the usual forms it has."""
    if isinstance(body, str | bytes):
        try:
            body = json.loads(body)
        except ValueError:
            return ""
    if isinstance(body, list) and body:
        body = body[0]
    if not isinstance(body, Mapping):
        return ""
    for name in ("error", "Error"):
        if isinstance(body.get(name), Mapping):
            body = body[name]
    for name in ("message", "Message", "detail"):
        if isinstance(body.get(name), str):
            return str(body[name])
    return body["error"] if isinstance(body.get("error"), str) else ""
