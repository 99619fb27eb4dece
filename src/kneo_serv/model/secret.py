"""Where secrets are found: names in, values out, and never a value in a text form."""

from collections.abc import Mapping
from dataclasses import dataclass, field

RESERVED_PREFIX = "KNEO_SERV_"
"""The platform's own variables. Some hold its secrets, and no spec may have them sent anywhere."""


@dataclass(frozen=True, slots=True, repr=False)
class Secrets:
    """The environment, and what the project config says about which variable holds which secret.

    Its text form holds no value, so that it may stand in an error or a log.
    """

    environ: Mapping[str, str]
    provider_env: Mapping[str, str] = field(default_factory=dict)
    """`secrets.provider_env`: provider to the variable of its key."""
    extra_env: Mapping[str, str] = field(default_factory=dict)
    """`secrets.extra_env`: the name that a spec uses to the variable that holds the secret."""

    def variable(self, name: str) -> str:
        """The environment variable behind a name in a spec (`api_key_ref`); without an entry, the name itself."""
        return self.extra_env.get(name, name)

    def value(self, variable: str) -> str:
        """What the variable holds, without surrounding space; empty when it is not set."""
        return self.environ.get(variable, "").strip()

    def __repr__(self) -> str:
        # Not what they map to either: who mistook such a place for the key itself put the key there.
        return f"Secrets(provider_env={sorted(self.provider_env)}, extra_env={sorted(self.extra_env)})"
