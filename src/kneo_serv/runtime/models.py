"""The model of an agent, opened through pydantic-ai. Imports the model library: load it late."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from pydantic_ai.exceptions import ModelAPIError, ModelConnectionError, ModelHTTPError, UnexpectedModelBehavior
from pydantic_ai.models import Model
from pydantic_ai.settings import ModelSettings

from kneo_serv.model.plan import ModelPlan
from kneo_serv.runtime.attempts import Setback
from kneo_serv.runtime.chat_model import ChatModel
from kneo_serv.runtime.endpoint import Endpoint


class OpenedModel(ChatModel):
    """A model behind one HTTP client. Belongs to the event loop of its first request."""

    @property
    def model(self) -> Model:
        """The library's own model."""
        return self._model

    @property
    def settings(self) -> ModelSettings:
        """What goes along with each request."""
        return self._settings

    @contextmanager
    def translated(self) -> Iterator[None]:
        """Errors of the library come out as Setback or ProviderError."""
        try:
            yield
        except ModelHTTPError as error:
            raise self._refusal(error) from None
        except ModelConnectionError as error:
            raise Setback(self._says(f"could not be reached ({self._detail(error.message)}).")) from None
        except ModelAPIError as error:
            raise Setback(self._says(f"gave no usable answer ({self._detail(error.message)}).")) from None
        except UnexpectedModelBehavior:
            raise self._failure("gave an answer that is no chat completion.") from None


def open_model(
    model: ModelPlan, *, environ: Mapping[str, str], secrets: None = None, timeout_seconds: float | None
) -> OpenedModel:
    """The model, ready to be asked.

    Raises:
        MissingSecretError: There is no API key; the text names the variable.
    """
    endpoint = Endpoint(model, environ)
    return OpenedModel(model, endpoint, key=endpoint.key(), timeout_seconds=timeout_seconds)
