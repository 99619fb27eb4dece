"""Where credentials are looked for and whether they are there: an inventory that holds no value."""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from kneo_serv.errors import MissingSecretError
from kneo_serv.model.secret import Secrets
from kneo_serv.observe import REDACTED
from kneo_serv.runtime.providers import provider_named
from kneo_serv.service.auth.config import ADMIN_KEY, KEYS

DEFAULT_PROVIDERS = ("openai", "openai-agents", "anthropic", "google", "google-adk")
"""Whose keys are looked for where nobody asks for others."""
SERVICE_TOKENS = ("KNEO_SERV_API_KEY", KEYS, ADMIN_KEY)
"""The service's own: what its command line sends, and what its door accepts."""

_SAME_KEY = {"google-adk": "google"}
"""Names that are asked for beside those of the providers, and whose key they use."""


@dataclass(frozen=True, slots=True)
class SecretValue:
    """A secret by its name, and the environment variable that holds it. Its text form does not hold the value."""

    name: str
    env_var: str
    value: str | None = field(default=None, repr=False)

    @property
    def present(self) -> bool:
        """Whether there is a value."""
        return bool(self.value)

    def require(self) -> str:
        """The value. Raises MissingSecretError, which names the variable."""
        if not self.value:
            raise MissingSecretError(f"{self.name} has no value: set {self.env_var}.")
        return self.value

    def redacted(self) -> dict[str, Any]:
        """Name, variable and presence as JSON values, without the value."""
        return {
            "name": self.name,
            "env_var": self.env_var,
            "present": self.present,
            "value": REDACTED if self.present else None,
        }


class SecretResolver:
    """Finds secrets in the environment, as the project config maps them (`secrets`).

    Args:
        config: The project config (or its `secrets`), which may name other variables.
        environ: The environment; that of the process where none is given.
    """

    def __init__(self, config: Any = None, *, environ: Mapping[str, str] | None = None) -> None:
        block = getattr(config, "secrets", config)
        self._secrets = Secrets(
            dict(os.environ if environ is None else environ),
            dict(getattr(block, "provider_env", None) or {}),
            dict(getattr(block, "extra_env", None) or {}),
        )

    def provider_env_var(self, name: str) -> str:
        """The variable that holds a provider's key: what the config says, else the one of those known that is set."""
        if mapped := self._secrets.provider_env.get(name):
            return mapped
        provider = provider_named(_SAME_KEY.get(name, name))
        known = provider.key_variables if provider is not None else ()
        found = next(filter(self._secrets.value, known), None)
        return found or (known[0] if known else f"{name.upper().replace('-', '_')}_API_KEY")

    def provider_secret(self, name: str, *, required: bool = False) -> SecretValue:
        """A provider's key. Raises MissingSecretError where it is `required` and has no value."""
        return self._found(f"provider:{name}", self.provider_env_var(name), required)

    def extra_secret(self, name: str, *, required: bool = False) -> SecretValue:
        """A secret by the name that specs use for it; without an entry in the config, the variable of that name."""
        return self._found(f"extra:{name}", self._secrets.variable(name), required)

    def service_token(self, name: str = SERVICE_TOKENS[0], *, required: bool = False) -> SecretValue:
        """A secret of the service itself, by its variable."""
        return self._found(f"service:{name}", name, required)

    def env_secret(self, env_var: str, *, required: bool = False) -> SecretValue:
        """What a variable holds."""
        return self._found(env_var, env_var, required)

    def inventory(
        self,
        *,
        providers: Iterable[str] | None = None,
        extras: Iterable[str] | None = None,
        include_service_tokens: bool = True,
    ) -> dict[str, dict[str, dict[str, Any]]]:
        """Which secrets there are, in the sections `providers`, `extra` and `service_tokens`; no values.

        Args:
            providers: Whose keys to look for; those of `DEFAULT_PROVIDERS` where None.
            extras: Which further secrets to look for; none where None.
            include_service_tokens: Whether to look for those of the service.
        """
        named = DEFAULT_PROVIDERS if providers is None else tuple(providers)
        tokens = SERVICE_TOKENS if include_service_tokens else ()
        return {
            "providers": {name: self.provider_secret(name).redacted() for name in named},
            "extra": {name: self.extra_secret(name).redacted() for name in extras or ()},
            "service_tokens": {name: self.service_token(name).redacted() for name in tokens},
        }

    def _found(self, name: str, variable: str, required: bool) -> SecretValue:
        secret = SecretValue(name, variable, self._secrets.value(variable) or None)
        if required:
            secret.require()
        return secret

    def __repr__(self) -> str:
        return f"SecretResolver({self._secrets!r})"
