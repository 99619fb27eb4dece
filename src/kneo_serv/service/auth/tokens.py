"""Bearer tokens of an identity provider (JWT): signature, issuer, audience, time, and what their claims grant."""

import base64
import json
import math
from collections.abc import Callable, Mapping
from typing import Any

from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jws import JWSRegistry

from kneo_serv.service.auth.grants import tenant_of
from kneo_serv.service.auth.oidc import OIDCConfig, claim_at
from kneo_serv.service.auth.principal import AuthPrincipal, Refusal
from kneo_serv.service.auth.signing_keys import SigningKeys

_LONGEST = 16_384
_LONGEST_NAME = 256


class TokenVerifier:
    """Tells who calls with a token."""

    def __init__(self, config: OIDCConfig, keys: SigningKeys, *, wall: Callable[[], float]) -> None:
        """`wall` gives Unix seconds."""
        self._config = config
        self._keys = keys
        self._wall = wall
        self._registry = _Registry(config.algorithms)

    async def verify(self, token: str) -> AuthPrincipal | Refusal:
        """Who calls with this token. Without a role that is mapped, or a tenant that is asked for, it has no scopes.

        Raises:
            IssuerUnavailable: the keys of the issuer are not to be had.
        """
        if len(token) > _LONGEST:
            return Refusal("unauthorized", "the token is too long")
        header = _header_of(token)
        algorithm, kid = header.get("alg"), header.get("kid")
        if algorithm not in self._config.algorithms or "crit" in header or not isinstance(kid, str | None):
            return Refusal("unauthorized", "the token has a header that is not accepted")
        claims = None
        for key in await self._keys.find(algorithm, kid):
            try:
                claims = json.loads(jws.deserialize_compact(token, key, registry=self._registry).payload or b"")
            except (JoseError, ValueError, RecursionError):
                continue
            break
        if not isinstance(claims, dict):
            return Refusal("unauthorized", "no key of the issuer has signed the token")
        return self._refusal(claims) or self._principal(claims)

    def _refusal(self, claims: Mapping[str, Any]) -> Refusal | None:
        audience, now, leeway = claims.get("aud"), self._wall(), self._config.leeway_seconds
        audiences = audience if isinstance(audience, list) else [audience]
        if claims.get("iss") != self._config.issuer:
            return Refusal("unauthorized", "the token is from another issuer")
        if not any(one in self._config.audiences for one in audiences if isinstance(one, str)):
            return Refusal("unauthorized", "the token is for another audience")
        name = claim_at(claims, self._config.name_claim)
        if not isinstance(name, str) or not 0 < len(name) <= _LONGEST_NAME or not name.isprintable():
            return Refusal("unauthorized", f"the token has no usable name in {self._config.name_claim}")
        times = {one: claims[one] for one in ("exp", "nbf", "iat") if claims.get(one) is not None}
        if "exp" not in times or not all(_is_time(value) for value in times.values()):
            return Refusal("unauthorized", "the token has no end, or times that are none", name)
        if times["exp"] <= now - leeway:
            return Refusal("expired", "the token is expired", name)
        if max(times.get("nbf", now), times.get("iat", now)) > now + leeway:
            return Refusal("unauthorized", "the token is not valid yet", name)
        return None

    def _principal(self, claims: Mapping[str, Any]) -> AuthPrincipal:
        granted, tenant = self._config.granted(claims), None
        roles, scopes = granted.roles, granted.scopes
        if self._config.tenant_claim is not None:
            found = claim_at(claims, self._config.tenant_claim)
            try:
                tenant = tenant_of(found if isinstance(found, str) else "")
            except ValueError:
                # Without a tenant a caller would see everything of everybody.
                roles = scopes = frozenset()
        name = claim_at(claims, self._config.name_claim)
        return AuthPrincipal(name, roles, scopes, tenant, self._config.issuer)


class _Registry(JWSRegistry):
    """Exactly the algorithms that are configured."""

    max_header_length = 4096

    def __init__(self, algorithms: tuple[str, ...]) -> None:
        super().__init__(algorithms=list(algorithms), strict_check_header=False)

    def get_alg(self, name: str) -> Any:
        """The algorithm. Raises JoseError."""
        if name not in (self.allowed or ()) or name not in self.algorithms:
            raise JoseError(f"{name} is not allowed")
        return self.algorithms[name]


def _header_of(token: str) -> Mapping[str, Any]:
    part = token.partition(".")[0]
    try:
        found = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _is_time(value: object) -> bool:
    # NaN is neither before nor after anything: a token with it would never expire.
    return type(value) is int or (isinstance(value, float) and math.isfinite(value))
