"""Where an OpenAI-compatible API is, and the key for it."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from kneo_serv.errors import MissingSecretError
from kneo_serv.model.plan import ModelPlan

OPENAI_URL = "https://api.openai.com/v1"
URL_VARIABLE = "OPENAI_BASE_URL"
KEY_VARIABLE = "OPENAI_API_KEY"

_ADDRESS_KEYS = frozenset({"base_url", "api_key", "api_key_ref"})
_BAD_URL = "the base URL of its model must look like https://host/v1, without credentials and query."
_OUR_KEYS = frozenset({"messages", "model", "n", "stream", "stream_options", "tools"})


class Endpoint:
    """The address that one model is asked at. Its text forms hold no key and no URL credentials."""

    def __init__(self, model: ModelPlan, environ: Mapping[str, str]) -> None:
        self._model = model
        self._environ = environ

    @property
    def base_url(self) -> str:
        """`base_url` of the model, or OPENAI_BASE_URL, or OpenAI's own address."""
        named = self._model.base_url or self._model.extra.get("base_url") or self._environ.get(URL_VARIABLE)
        return str(named or OPENAI_URL)

    @property
    def is_openai(self) -> bool:
        """Whether OpenAI itself answers there, rather than a server that speaks like it."""
        return urlsplit(self.base_url).hostname == urlsplit(OPENAI_URL).hostname

    @property
    def place(self) -> str:
        """The address for error texts: without credentials, query and fragment."""
        parts = urlsplit(self.base_url)
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"

    @property
    def key_source(self) -> str:
        """What to look at when the key is wrong: the variable that holds it, or the spec's own field."""
        return "model.extra.api_key" if self._own_key else self._key_variable

    def key(self) -> str:
        """The API key.

        Raises:
            MissingSecretError: It has no value, or one that no key can have; the text names the variable.
        """
        value = self._own_key or self._environ.get(self._key_variable, "").strip()
        if not value:
            raise MissingSecretError(
                f"{self._key_variable} is not set: provider 'openai' needs it as API key for {self.place}. "
                "Set the environment variable (to any text, if that server needs no key)."
            )
        # Told here, since the HTTP library's own complaint would quote the key.
        if not (value.isascii() and value.isprintable()):
            raise MissingSecretError(
                f"{self.key_source} holds no usable API key: a key is one line of plain ASCII characters."
            )
        return value

    def request_extras(self) -> dict[str, Any]:
        """The fields of `model.extra` that are sent along in each request body, such as `top_p` or `seed`."""
        return {name: value for name, value in self._model.extra.items() if name not in _ADDRESS_KEYS | _OUR_KEYS}

    def problem(self) -> str | None:
        """Why nothing can be asked there; None when it can be tried."""
        try:
            parts = urlsplit(self.base_url)
            usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        except ValueError:
            return _BAD_URL
        # Credentials or a query would be stored with every answer, which names the address that it came from.
        if not usable or "@" in parts.netloc or parts.query or parts.fragment:
            return _BAD_URL
        if ours := sorted(_OUR_KEYS & self._model.extra.keys()):
            return f"model.extra must not hold {', '.join(ours)}: the platform fills that in itself."
        return None

    def __repr__(self) -> str:
        return f"Endpoint({self.place!r})"

    @property
    def _own_key(self) -> str:
        return str(self._model.extra.get("api_key") or "").strip()

    @property
    def _key_variable(self) -> str:
        return str(self._model.api_key_ref or self._model.extra.get("api_key_ref") or KEY_VARIABLE)
