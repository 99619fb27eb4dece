"""The public keys of an identity provider: fetched off the loop, kept for a while, and usable while it is away."""

import asyncio
import http.client
import json
import logging
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import Any

from joserfc.errors import JoseError
from joserfc.jwk import ECKey, JWKRegistry, OKPKey, RSAKey

from kneo_serv.service.auth.oidc import ALGORITHMS, OIDCConfig, is_safe_url
from kneo_serv.service.auth.principal import IssuerUnavailable

log = logging.getLogger("kneo_serv.service")

_LARGEST = 262_144
_MOST_KEYS = 64
_FIRST_COOLDOWN = 5.0

type SigningKey = RSAKey | ECKey | OKPKey


class SigningKeys:
    """The keys of one issuer. Any number of callers share one question to it; none of them holds the loop."""

    def __init__(self, config: OIDCConfig, *, clock: Callable[[], float]) -> None:
        """Nothing is fetched yet; `clock` gives monotonic seconds."""
        self._config = config
        self._clock = clock
        self._starting = threading.Lock()
        self._keys: tuple[tuple[dict[str, Any], SigningKey], ...] | None = None
        self._got = 0.0
        self._asked: float | None = None
        self._pending: Future[None] | None = None
        self._down = False

    async def find(self, algorithm: str, kid: str | None) -> list[SigningKey]:
        """The keys that may have made a signature; none when the issuer has no such key.

        Raises:
            IssuerUnavailable: there are no keys, and the issuer gave none in time.
        """
        age = self._clock() - self._got
        if self._keys is not None and age > self._config.keys_max_stale_seconds:
            self._keys = None
        if self._keys is None:
            await self._refreshed()
        elif age > self._config.keys_max_age_seconds:
            self._refresh()
        found = self._fitting(algorithm, kid)
        if not found and self._keys is not None:
            await self._refreshed()
            found = self._fitting(algorithm, kid)
        if self._keys is None:
            raise IssuerUnavailable
        return found

    def _fitting(self, algorithm: str, kid: str | None) -> list[SigningKey]:
        kind = ALGORITHMS[algorithm]
        return [
            key
            for about, key in self._keys or ()
            if key.key_type == kind
            and (kid is None or about.get("kid") == kid)
            and about.get("alg", algorithm) == algorithm
        ]

    async def _refreshed(self) -> None:
        pending = self._refresh()
        if pending is not None:
            # Not cancelled with the caller: others wait for the same answer.
            await asyncio.wait({asyncio.wrap_future(pending)}, timeout=self._config.keys_timeout_seconds)

    def _refresh(self) -> Future[None] | None:
        with self._starting:
            if self._pending is not None and not self._pending.done():
                return self._pending
            now = self._clock()
            cooldown = self._config.keys_cooldown_seconds
            if self._keys is None:
                cooldown = min(cooldown, int(_FIRST_COOLDOWN))
            if self._asked is not None and now - self._asked < cooldown:
                return None
            self._asked = now
            pending: Future[None] = Future()
            self._pending = pending
        threading.Thread(target=self._fetch, args=(pending,), name="kneo-oidc-keys", daemon=True).start()
        return pending

    def _fetch(self, pending: Future[None]) -> None:
        try:
            keys = _key_set(self._url(), self._config.keys_timeout_seconds)
        except (OSError, ValueError, http.client.HTTPException) as fault:
            if not self._down:
                log.error("the keys of the issuer of tokens cannot be read: %s: %s", type(fault).__name__, fault)
            self._down = True
        else:
            if self._down:
                log.info("the keys of the issuer of tokens are there again")
            self._down = False
            self._keys, self._got = keys, self._clock()
        finally:
            pending.set_result(None)

    def _url(self) -> str:
        if self._config.jwks_url is not None:
            return self._config.jwks_url
        issuer = self._config.issuer
        found = _fetched(f"{issuer.rstrip('/')}/.well-known/openid-configuration", self._config.keys_timeout_seconds)
        url = found.get("jwks_uri")
        if found.get("issuer") != issuer:
            raise ValueError("the discovery document names another issuer")
        if not isinstance(url, str) or not is_safe_url(url):
            raise ValueError("the discovery document names no safe jwks_uri")
        return url


def _key_set(url: str, timeout: float) -> tuple[tuple[dict[str, Any], SigningKey], ...]:
    entries = _fetched(url, timeout).get("keys")
    if not isinstance(entries, list):
        raise ValueError("the key set has no list of keys")
    found = []
    for entry in entries[:_MOST_KEYS]:
        if not isinstance(entry, dict) or not _checks_signatures(entry):
            continue
        try:
            key = JWKRegistry.import_key(entry)
        except (JoseError, ValueError, TypeError, KeyError):
            # A kind of key that is not known here stands beside others that are.
            continue
        if isinstance(key, RSAKey | ECKey | OKPKey):
            found.append((entry, key))
    if not found:
        raise ValueError("the key set has no key that can check signatures")
    return tuple(found)


def _checks_signatures(entry: Mapping[str, Any]) -> bool:
    # Secrets are no keys that an issuer would publish, and RSA keys under 2048 bits can be broken.
    if entry.get("use", "sig") != "sig" or entry.get("kty") not in ALGORITHMS.values():
        return False
    if entry["kty"] == "RSA":
        return len(str(entry.get("n"))) * 6 >= 2048
    return entry["kty"] == "EC" or entry.get("crv") in ("Ed25519", "Ed448")


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *args: Any, **named: Any) -> None:
        """Redirects are not followed: they may lead anywhere."""


def _fetched(url: str, timeout: float) -> dict[str, Any]:
    end = time.monotonic() + timeout
    request = urllib.request.Request(url, headers={"Accept": "application/json"})  # noqa: S310 - see is_safe_url
    try:
        with urllib.request.build_opener(_NoRedirect).open(request, timeout=timeout) as answer:
            content = b""
            while piece := answer.read1(65_536):
                content += piece
                if len(content) > _LARGEST:
                    raise ValueError(f"the answer is larger than {_LARGEST} bytes")
                if time.monotonic() > end:
                    raise TimeoutError("the answer took too long")
    except urllib.error.HTTPError as fault:
        fault.close()
        raise OSError(f"status {fault.code}") from None
    try:
        found = json.loads(content)
    except (ValueError, RecursionError):
        raise ValueError("the answer is no JSON") from None
    if not isinstance(found, dict):
        raise ValueError("the answer is no JSON object")
    return found
