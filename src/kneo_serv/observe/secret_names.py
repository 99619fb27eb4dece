"""Names under which secrets are kept: which keys of a mapping have values that nobody may see."""

import re
from enum import Enum, auto
from functools import lru_cache
from itertools import pairwise

SECRET_WORDS = frozenset(
    {
        "apikey",
        "authorization",
        "bearer",
        "cookie",
        "credential",
        "email",
        "passphrase",
        "passwd",
        "password",
        "pwd",
        "secret",
        "session",
        "ssn",
        "token",
    }
)
SECRET_PAIRS = frozenset(
    {
        ("access", "key"),
        ("api", "key"),
        ("ca", "bundle"),
        ("client", "cert"),
        ("client", "key"),
        ("private", "key"),
        ("social", "security"),
    }
)
FUSED_ENDINGS = (
    *("accesskey", "apikey", "cabundle", "clientcert", "clientkey", "privatekey", "secretkey"),
    *("authorization", "cookie", "credential", "passphrase", "passwd", "password", "secret", "socialsecurity", "token"),
)
KEPT = frozenset(
    {
        "completion_tokens",
        "input_tokens",
        "output_tokens",
        "prompt_tokens",
        "session_id",
        "token_usage",
        "total_tokens",
        "trace_event_count",
        "usage",
    }
)

_SEGMENT = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")
_LONGEST_CACHED = 64
"""Characters; longer keys are hostile or accidental, and would make the cache an expensive one."""


class Secrecy(Enum):
    """What a key says about its value."""

    OPEN = auto()
    COUNT = auto()
    """Secret as text, but a number under it is a count (`max_tokens`)."""
    SECRET = auto()


def secrecy(key: str) -> Secrecy:
    """What a key says about its value: `dbPassword` is secret, `max_tokens` is a count, `title` is open."""
    return _cached(key) if len(key) <= _LONGEST_CACHED else _secrecy(key)


def _secrecy(key: str) -> Secrecy:
    segments = [_singular(segment.lower()) for segment in _SEGMENT.findall(key)]
    if (name := key.lower()) in KEPT or segments == ["session", "id"] or _is_total(name):
        return Secrecy.OPEN
    verdict = Secrecy.OPEN
    for segment in segments:
        if segment in SECRET_WORDS or segment.endswith(FUSED_ENDINGS):
            if not segment.endswith("token"):
                return Secrecy.SECRET
            verdict = Secrecy.COUNT
    if any(pair in SECRET_PAIRS for pair in pairwise(segments)):
        return Secrecy.SECRET
    return verdict


_cached = lru_cache(maxsize=4096)(_secrecy)


def _singular(word: str) -> str:
    return word[:-1] if word.endswith("s") and not word.endswith("ss") else word


def _is_total(name: str) -> bool:
    """Whether this is one of the counters `tokens_*_total`."""
    return name.startswith("tokens_") and name.endswith("_total")
