"""Where a model is asked, with which key, and what goes along from its spec."""

import re
from ipaddress import ip_address
from typing import Any
from urllib.parse import SplitResult, urlsplit

from kneo_serv.errors import MissingExtraError, MissingSecretError, ProviderError
from kneo_serv.model.plan import ModelPlan
from kneo_serv.model.secret import RESERVED_PREFIX, Secrets
from kneo_serv.runtime.providers import Provider, provider_named, unknown_provider

_ADDRESS_KEYS = frozenset({"base_url", "api_key", "api_key_ref"})
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_LONGEST_NAME = 24
"""Of a variable in small letters that is quoted; keys are longer."""
_BAD_URL = "the base URL of its model must look like https://host/v1, without credentials and query."


class Endpoint:
    """The address that one model is asked at, and the rules for its key. Its text forms hold no key.

    A provider's default key goes to the provider's own hosts, to the address that its variable names, and to this
    machine. An address that a spec brings along gets only the key that the spec names for it: otherwise whoever may
    write a spec could have the key sent to a server of theirs.
    """

    def __init__(self, model: ModelPlan, provider: Provider, secrets: Secrets) -> None:
        self.provider = provider
        self._model = model
        self._secrets = secrets

    @property
    def base_url(self) -> str:
        """`base_url` of the model, or what the provider's variable names, or its own address (empty if it has none)."""
        named = self._named_url or self._secrets.value(self.provider.url_variable)
        return named or self.provider.default_url

    @property
    def is_own(self) -> bool:
        """Whether the provider itself answers there, rather than a server that speaks like it."""
        return not self.base_url or self.provider.owns(urlsplit(self.base_url).hostname or "")

    @property
    def place(self) -> str:
        """The address for error texts: without credentials, query and fragment."""
        if not self.base_url:
            return "its own address"
        parts = urlsplit(self.base_url)
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"

    @property
    def key_source(self) -> str:
        """What to look at when the key is wrong: the variable that holds it, or the spec's own field."""
        if self._own_key:
            return "model.extra.api_key"
        if self._reference:
            return self._shown_variable
        variables = self._default_variables
        return next((name for name in variables if self._secrets.value(name)), variables[0] if variables else "")

    def key(self) -> str:
        """The API key; empty where none is needed and none is set.

        Raises:
            MissingSecretError: It has no value, or one that no key can have, or no key is meant for this address; the
                text names the variable or the field.
        """
        value = self._own_key or (self._named_key() if self._reference else self._default_key())
        # Told here, since the HTTP library's own complaint would quote the key.
        if not (value.isascii() and value.isprintable()):
            raise MissingSecretError(
                f"{self.key_source} holds no usable API key: a key is one line of plain ASCII characters."
            )
        return value

    @property
    def hidden(self) -> tuple[str, ...]:
        """The values that are sent along, or signed with, beside the key, and that no text may show."""
        return tuple(filter(None, map(self._secrets.value, self.provider.other_secrets)))

    def shortage(self) -> str | None:
        """What is not installed or not set here and needed to ask; None when all is there. Imports nothing."""
        if (missing := self.provider.missing_libraries) is not None:
            return missing
        try:
            self.key()
        except MissingSecretError as error:
            return error.message
        needed = self.provider.also_needed
        if needed and not any(map(self._secrets.value, needed)):
            return f"{needed[0]} (or {' or '.join(needed[1:])}) is not set: provider {self.provider.name!r} needs it."
        return None

    def extras(self) -> dict[str, Any]:
        """The fields of `model.extra` that go along with each request, such as `top_p` or `seed`."""
        return {name: value for name, value in self._model.extra.items() if name not in _ADDRESS_KEYS}

    def problem(self) -> str | None:
        """Why nothing can be asked there, whatever keys are set; None when it can be tried."""
        if self.base_url and not _is_usable(self.base_url):
            return _BAD_URL
        if self._reference and not _VARIABLE.fullmatch(self._variable):
            # Not quoted: what stands there may be the key itself.
            return (
                "model.api_key_ref must be the name of an environment variable, or of an entry of secrets.extra_env in "
                "the project config; never the key itself."
            )
        for name in (self._reference, self._variable):
            if name.startswith(RESERVED_PREFIX):
                return (
                    f"model.api_key_ref must not name {name}: variables that begin with {RESERVED_PREFIX} belong to "
                    "the platform and are sent nowhere."
                )
        extras = self.extras()
        if ours := sorted(extras.keys() & set(self.provider.filled_in)):
            return f"model.extra must not hold {', '.join(ours)}: the platform fills that in itself."
        known = self.provider.extra_fields
        if known is not None and (unknown := sorted(extras.keys() - set(known))):
            return (
                f"model.extra must not hold {', '.join(unknown)}: provider {self.provider.name!r} takes "
                f"{', '.join(known)}."
            )
        return None

    def __repr__(self) -> str:
        return f"Endpoint({self.place!r})"

    def _named_key(self) -> str:
        if value := self._secrets.value(self._variable):
            return value
        raise MissingSecretError(
            f"{self._shown_variable} is not set: provider {self.provider.name!r} needs it as API key for "
            f"{self.place}, since model.api_key_ref names it. Set the environment variable."
        )

    def _default_key(self) -> str:
        variables = self._default_variables
        if not self._may_have_default_key():
            if not self.provider.credentials_needed:
                return ""
            raise MissingSecretError(
                f"{variables[0]} is not sent to {self.place}, an address that the spec names: name the key for it in "
                f"model.api_key_ref, or set the address in {self.provider.url_variable}."
            )
        if value := next(filter(None, map(self._secrets.value, variables)), ""):
            return value
        if not self.provider.key_needed:
            return ""
        instead = f" (or {' or '.join(variables[1:])})" if variables[1:] else ""
        mend = "Set the environment variable."
        if not self.is_own:
            mend = "Set the environment variable (to any text, if that server needs no key)."
        raise MissingSecretError(
            f"{variables[0]}{instead} is not set: provider {self.provider.name!r} needs it as API key for "
            f"{self.place}. {mend}"
        )

    def _may_have_default_key(self) -> bool:
        if not self._named_url:
            return True
        parts = urlsplit(self._named_url)
        if _is_this_machine(parts.hostname or ""):
            return True
        if parts.scheme == "https" and self.provider.owns(parts.hostname or ""):
            return True
        variable = self._secrets.value(self.provider.url_variable)
        return bool(variable) and _is_usable(variable) and _origin(urlsplit(variable)) == _origin(parts)

    @property
    def _named_url(self) -> str:
        return str(self._model.base_url or self._model.extra.get("base_url") or "")

    @property
    def _own_key(self) -> str:
        return str(self._model.extra.get("api_key") or "").strip()

    @property
    def _reference(self) -> str:
        return str(self._model.api_key_ref or self._model.extra.get("api_key_ref") or "")

    @property
    def _variable(self) -> str:
        return self._secrets.variable(self._reference)

    @property
    def _shown_variable(self) -> str:
        """The name, unless it looks like a key that somebody put in its place."""
        name = self._variable
        return name if name.isupper() or len(name) <= _LONGEST_NAME else "The variable that model.api_key_ref names"

    @property
    def _default_variables(self) -> tuple[str, ...]:
        for name in (self._model.provider, self.provider.name, *self.provider.other_names):
            if variable := self._secrets.provider_env.get(name):
                return (variable,)
        return self.provider.key_variables


def reached(model: ModelPlan, secrets: Secrets) -> tuple[Endpoint, str]:
    """Where this model is asked, and the key for it (empty where none is needed). Imports nothing.

    Raises:
        MissingExtraError: The provider's libraries are not installed; the text holds the command.
        MissingSecretError: There is no key; the text names the variable.
        ProviderError: There is no such provider, or the model cannot be asked as the spec says.
    """
    provider = provider_named(model.provider)
    if provider is None:
        raise ProviderError(unknown_provider(model.provider), provider=model.provider)
    endpoint = Endpoint(model, provider, secrets)
    if (problem := endpoint.problem()) is not None:
        raise ProviderError(problem, provider=model.provider)
    if (missing := provider.missing_libraries) is not None:
        raise MissingExtraError(missing)
    return endpoint, endpoint.key()


def _is_usable(url: str) -> bool:
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
    # Credentials or a query would be stored with every answer, which names the address that it came from.
    return usable and "@" not in parts.netloc and not parts.query and not parts.fragment


def _is_this_machine(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def _origin(parts: SplitResult) -> tuple[str, str | None, int | None]:
    return parts.scheme, parts.hostname, parts.port or {"https": 443, "http": 80}.get(parts.scheme)
