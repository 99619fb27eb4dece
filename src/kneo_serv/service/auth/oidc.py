"""Which tokens of an identity provider are accepted, and what their claims grant."""

import importlib.util
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self
from urllib.parse import urlsplit

from kneo_serv.errors import SettingsError
from kneo_serv.service.auth.grants import Grants, read_grants

PREFIX = "KNEO_SERV_OIDC_"
ALGORITHMS: Mapping[str, str] = {
    **dict.fromkeys(("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"), "RSA"),
    **dict.fromkeys(("ES256", "ES384", "ES512"), "EC"),
    **dict.fromkeys(("EdDSA", "Ed25519"), "OKP"),
}
"""Kind of key by algorithm: those of public keys only. With a shared secret, whoever checks tokens could make them."""

_NUMBER = re.compile(r"[0-9]{1,6}")


@dataclass(frozen=True, slots=True)
class OIDCConfig:
    """The issuer whose tokens are accepted, and how they are read. Times in seconds."""

    issuer: str
    audiences: tuple[str, ...]
    role_map: Mapping[str, Grants]
    """What a value of the role claim grants; other values grant nothing."""
    jwks_url: str | None = None
    """Where its keys are; None asks the issuer (`/.well-known/openid-configuration`)."""
    role_claim: str = "roles"
    name_claim: str = "sub"
    tenant_claim: str | None = None
    """With it, a token without a tenant may do nothing."""
    algorithms: tuple[str, ...] = ("RS256", "ES256", "EdDSA")
    leeway_seconds: int = 30
    """By how much the clocks may differ."""
    keys_max_age_seconds: int = 600
    """After which the keys are asked for again, while the old ones serve."""
    keys_cooldown_seconds: int = 30
    """How often they are asked for at most, whatever tokens come."""
    keys_timeout_seconds: int = 5
    keys_max_stale_seconds: int = field(default=86_400)
    """How long keys serve while the issuer does not answer."""

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> Self | None:
        """What the environment says; None without KNEO_SERV_OIDC_ISSUER. Raises SettingsError."""
        given = {name: environ[name].strip() for name in environ if name.startswith(PREFIX) and environ[name].strip()}
        if not given:
            return None
        for name in given:
            if name.removeprefix(PREFIX) not in VARIABLES:
                raise SettingsError(name, f"there is no such variable; known are {PREFIX}{{{','.join(VARIABLES)}}}.")
        for name, example in _NEEDED.items():
            if PREFIX + name not in given:
                raise SettingsError(PREFIX + name, f"it is missing, and tokens need it; for example {example}")
        if importlib.util.find_spec("joserfc") is None:
            raise SettingsError(f"{PREFIX}ISSUER", "tokens need the extra: pip install 'kneo-serv[oidc]'.")
        values: dict[str, Any] = {
            "issuer": _url(given, "ISSUER"),
            "audiences": _words(given, "AUDIENCE"),
            "role_map": _role_map(given[f"{PREFIX}ROLE_MAP"]),
        }
        if f"{PREFIX}JWKS_URL" in given:
            values["jwks_url"] = _url(given, "JWKS_URL")
        if f"{PREFIX}ALGORITHMS" in given:
            values["algorithms"] = _algorithms(_words(given, "ALGORITHMS"))
        for name in ("ROLE_CLAIM", "NAME_CLAIM", "TENANT_CLAIM"):
            if PREFIX + name in given:
                values[name.lower()] = given[PREFIX + name]
        for name in ("LEEWAY_SECONDS", "KEYS_MAX_AGE_SECONDS", "KEYS_COOLDOWN_SECONDS", "KEYS_TIMEOUT_SECONDS"):
            if PREFIX + name in given:
                values[name.lower()] = _number(given, name)
        return cls(**values)

    def granted(self, claims: Mapping[str, Any]) -> Grants:
        """What these claims grant together; nothing, where no value of the role claim is in the map."""
        found = claim_at(claims, self.role_claim)
        values = found.split() if isinstance(found, str) else found if isinstance(found, list) else []
        # A text is one value too, since names of groups may hold blanks.
        wanted = [*values, found] if isinstance(found, str) else values
        mapped = [self.role_map[one] for one in wanted if isinstance(one, str) and one in self.role_map]
        return Grants(
            frozenset().union(*(one.roles for one in mapped)), frozenset().union(*(one.scopes for one in mapped))
        )


def claim_at(claims: Any, path: str) -> Any:
    """The value at a dotted path; None when there is none. Keys that hold dots themselves are found as well."""
    if not isinstance(claims, Mapping):
        return None
    parts = path.split(".")
    for length in range(len(parts), 0, -1):
        key, rest = ".".join(parts[:length]), ".".join(parts[length:])
        if key in claims:
            found = claim_at(claims[key], rest) if rest else claims[key]
            if found is not None:
                return found
    return None


def is_safe_url(url: str) -> bool:
    """Whether nobody on the way can change what is read there: https, or http on this machine."""
    try:
        parts = urlsplit(url)
        host = parts.hostname
    except ValueError:
        return False
    loopback = host in ("127.0.0.1", "::1", "localhost")
    return bool(host) and parts.username is None and (parts.scheme == "https" or (parts.scheme == "http" and loopback))


_NEEDED = {
    "ISSUER": "https://login.example.com/",
    "AUDIENCE": "kneo",
    "ROLE_MAP": "kneo-admins=admin;kneo-users=viewer,runs:write",
}
VARIABLES = (
    "ISSUER",
    "AUDIENCE",
    "JWKS_URL",
    "ROLE_CLAIM",
    "ROLE_MAP",
    "TENANT_CLAIM",
    "NAME_CLAIM",
    "ALGORITHMS",
    "LEEWAY_SECONDS",
    "KEYS_MAX_AGE_SECONDS",
    "KEYS_COOLDOWN_SECONDS",
    "KEYS_TIMEOUT_SECONDS",
)


def _url(given: Mapping[str, str], name: str) -> str:
    url = given[PREFIX + name]
    if not is_safe_url(url):
        raise SettingsError(PREFIX + name, "it must be an https URL (http is allowed on this machine alone).")
    return url


def _words(given: Mapping[str, str], name: str) -> tuple[str, ...]:
    words = tuple(re.split(r"[,\s]+", given[PREFIX + name].strip(", ")))
    if not words[0]:
        raise SettingsError(PREFIX + name, "it holds no word.")
    return words


def _algorithms(words: tuple[str, ...]) -> tuple[str, ...]:
    for word in words:
        if word not in ALGORITHMS:
            raise SettingsError(
                f"{PREFIX}ALGORITHMS",
                f"{word[:20]!r} is not allowed; signatures by public keys are: {', '.join(ALGORITHMS)}.",
            )
    return words


def _number(given: Mapping[str, str], name: str) -> int:
    text, least = given[PREFIX + name], 0 if name == "LEEWAY_SECONDS" else 1
    if not _NUMBER.fullmatch(text) or int(text) < least:
        raise SettingsError(PREFIX + name, f"{text[:20]!r} must be a whole number of seconds from {least} to 999999.")
    return int(text)


def _role_map(text: str) -> Mapping[str, Grants]:
    variable = f"{PREFIX}ROLE_MAP"
    found: dict[str, Grants] = {}
    for place, (value, grants) in enumerate(_pairs(variable, text), start=1):
        try:
            found[value] = read_grants(grants, attributes=False)
        except ValueError as fault:
            raise SettingsError(variable, f"entry {place}: {fault}.") from None
    return found


def _pairs(variable: str, text: str) -> list[tuple[str, list[str]]]:
    if text.startswith("{"):
        try:
            mapping = json.loads(text)
        except (ValueError, RecursionError):
            raise SettingsError(variable, "it begins like JSON, and is none.") from None
        pairs = [(value, [one] if isinstance(one, str) else one) for value, one in mapping.items()]
        if not all(isinstance(grants, list) and all(isinstance(one, str) for one in grants) for _, grants in pairs):
            raise SettingsError(variable, "as JSON, it maps each value to a grant, or to a list of grants.")
        return pairs
    pairs = []
    for place, entry in enumerate((one for one in text.split(";") if one.strip()), start=1):
        # Split at the last sign: names of groups may hold some, as in CN=ops.
        value, equals, grants = entry.rpartition("=")
        if not equals or not value.strip():
            raise SettingsError(variable, f"entry {place} must be value=grant[,grant...].")
        pairs.append((value.strip(), grants.split(",")))
    return pairs
