"""Recognising callers while the service runs: keys that change, and tokens whose keys are fetched."""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from kneo_serv.service.auth.config import AuthConfig
from kneo_serv.service.auth.key_file import KeyFile
from kneo_serv.service.auth.keys import find_key
from kneo_serv.service.auth.principal import ANONYMOUS, AuthPrincipal, IssuerUnavailable, Refusal

if TYPE_CHECKING:
    from kneo_serv.service.auth.tokens import TokenVerifier


class Authenticator:
    """Tells who calls. Nothing of it holds the loop: files and keys are read on other threads."""

    def __init__(
        self,
        config: AuthConfig,
        *,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        """Reads the file of keys, if there is one.

        Args:
            config: Who is let in.
            clock: Monotonic seconds, for what is looked at again after a while.
            wall: Unix seconds, for keys and tokens that end.

        Raises:
            OSError: the file of keys cannot be read.
            ValueError: it cannot be used.
        """
        self._config = config
        self._wall = wall
        self._file = None if config.key_file is None else KeyFile(config.key_file, clock=clock)
        self._tokens = _verifier(config, clock, wall)

    async def authenticate(self, token: str | None) -> AuthPrincipal | Refusal:
        """Who calls with this key or token, or why nobody does.

        What has two dots is taken for a token first, where tokens are configured; a key may look like that too.

        Raises:
            IssuerUnavailable: it may be a token, and cannot be checked just now.
        """
        if not self._config.enabled:
            return ANONYMOUS
        if not token:
            return Refusal("unauthorized", "there is no key")
        refused, unavailable = Refusal("unauthorized", "the key is not known"), False
        if self._tokens is not None and token.count(".") == 2:
            try:
                verdict = await self._tokens.verify(token)
            except IssuerUnavailable:
                unavailable = True
            else:
                if isinstance(verdict, AuthPrincipal):
                    return verdict
                refused = verdict
        records = self._config.api_keys + (() if self._file is None else await self._file.records())
        now = self._wall()
        record = find_key(records, token, now)
        if record is not None and record.expired(now):
            return Refusal("expired", "the key is expired", record.name, record.tenant)
        if record is not None:
            return record.principal
        if unavailable:
            raise IssuerUnavailable
        return refused


def _verifier(config: AuthConfig, clock: Callable[[], float], wall: Callable[[], float]) -> "TokenVerifier | None":
    if config.oidc is None:
        return None
    # The library for signatures is an extra.
    from kneo_serv.service.auth.signing_keys import SigningKeys
    from kneo_serv.service.auth.tokens import TokenVerifier

    return TokenVerifier(config.oidc, SigningKeys(config.oidc, clock=clock), wall=wall)
