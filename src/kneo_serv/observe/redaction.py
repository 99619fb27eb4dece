"""Taking secrets out of texts and values, once, at the moment when an event is written.

Three promises hold for any input: redacting twice gives what redacting once gives, the time grows linearly with the
text, and JSON stays JSON. Every pattern begins at a place that no other match can share (a lookbehind, or a fixed
word), which is what keeps hostile texts linear.
"""

import json
import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

from kneo_serv.observe.secret_names import Secrecy, secrecy

REDACTED = "[REDACTED]"
"""What stands in the place of a secret."""
REDACTED_EMAIL = "[REDACTED_EMAIL]"
REDACTED_SSN = "[REDACTED_SSN]"
REDACTED_PATH = "[PATH]"
TRUNCATED = "...[truncated]"

_PASSES = 4
"""A placeholder can bare what stood beside a secret, so a text that changed is looked at again."""
MAX_DEPTH = 100
"""Levels of nested containers; what lies deeper is masked as a whole."""

NAMES = (
    r"(?:pass(?:word|wd|phrase)|pwd|secret(?:[_-]?(?:access[_-]?)?key)?|(?:api|access|private|client)[ _-]?key"
    r"|client[_-]?cert|ca[_-]?bundle|token|credential|cookie|authorization)s?"
)
"""Pattern of the words behind which `=` or `:` and a secret stand."""
_NAME_HINTS = ("pass", "pwd", "secret", "key", "cert", "bundle", "token", "credential", "cookie", "authorization")
"""One of these, in lower case, stands in every text that `_ASSIGNMENT` or `_COOKIE` can match."""
_SCHEME_HINTS = ("bearer", "basic", "digest", "negotiate", "ntlm", "token")
"""The same for `_SCHEME`."""

_ASSIGNMENT = re.compile(
    rf"(?P<name>{NAMES})(?P<quote>\\*[\"'])?(?P<gap>[ \t]*[=:][ \t]*)"
    r"(?P<value>(?P<scheme>(?:Bearer|Basic|Digest|Negotiate|NTLM|Token|ApiKey)[ \t]+)?"
    r"(?:\"(?:[^\"\\\r\n]|\\[^\r\n])*+\"?|'(?:[^'\\\r\n]|\\[^\r\n])*+'?"
    r"|\\+\"[^\"\\\r\n]*+(?:\\+\")?|[^\s\"'\\,;&]+))",
    re.ASCII | re.IGNORECASE,
)
_OPENING = re.compile(r"\\*[\"']")
_SCHEME = re.compile(
    r"(?<![A-Za-z0-9_-])(?:(?P<bearer>Bearer[ \t]+)(?P<token>[A-Za-z0-9._~+/=-]+)"
    r"|(?P<digest>Digest[ \t]+)[A-Za-z]+=[^\r\n]+"
    r"|(?P<other>(?:Basic|Negotiate|NTLM|Token)[ \t]+)(?P<credential>[A-Za-z0-9._~+/=-]{8,}))",
    re.ASCII | re.IGNORECASE,
)
_COOKIE = re.compile(r"((?<![A-Za-z0-9_-])(?:Set-)?Cookie[ \t]*:[ \t]*)[^\r\n]+", re.ASCII | re.IGNORECASE)
KEY_BLOCK = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----[^-]*+(?:-----END [A-Z ]*PRIVATE KEY-----)?", re.ASCII)
"""A private key in PEM form: the one secret that has line breaks in it."""
_KEY_SHAPES = re.compile(
    r"(?<![A-Za-z0-9_-])(?:sk-[A-Za-z0-9_-]{6,}|AIza[A-Za-z0-9_-]{20,}|A[KS]IA[A-Z0-9]{12,}"
    r"|gh[opsru]_[A-Za-z0-9]{16,}|github_pat_[A-Za-z0-9_]{16,}|xox[a-z]-[A-Za-z0-9-]{10,}"
    r"|gsk_[A-Za-z0-9]{16,}|eyJ[A-Za-z0-9_-]{4,}\.[A-Za-z0-9_-]{4,}\.[A-Za-z0-9_-]*)+",
    re.ASCII,
)
_SSN_SHAPE = re.compile(r"[0-9]{3}-[0-9]{2}-[0-9]{4}")
_STEMS = (
    *("password", "passwd", "passphrase", "pwd", "secret", "token", "credential", "cookie", "authorization"),
    *("bearer", "basic", "digest", "negotiate", "ntlm", "email", "ssn", "session"),
)
"""One of these in lower case stands wherever `secrecy` or a pattern for names and schemes finds something."""
_PAIRS = (
    *(("access", "key"), ("api", "key"), ("ca", "bundle"), ("client", "cert")),
    *(("client", "key"), ("private", "key"), ("social", "security")),
)
"""The same for names of two words."""
_KEY_HINTS = (
    "sk-",
    "AIza",
    "AKIA",
    "ASIA",
    "ghp_",
    "gho_",
    "ghs_",
    "ghr_",
    "ghu_",
    "github_pat_",
    "xox",
    "gsk_",
    "eyJ",
)
_URL_PASSWORD = re.compile(r"(://[^\s/:@?#\"']*+:)[^\s/\"']+@")
_EMAIL = re.compile(r"(?<![\w.%+-])[\w.%+-]+@[\w-]+(?:\.[\w-]+)*\.[^\W\d_]{2,}")
_SSN = re.compile(r"(?<![\w-])[0-9]{3}-[0-9]{2}-[0-9]{4}(?![\w-])")
_PATH = re.compile(r"(?<![\w:/.\]-])/[\w.@+-]+(?:/[\w.@+-]*)+|file:/{1,3}[\w.@+/-]+|(?<!\w)[A-Za-z]:\\[^\s\"'<>|,;]+")

_PLAIN_WORDS = frozenset(
    {
        *("a", "an", "and", "auth", "authentication", "authorization", "credential", "credentials", "for", "format"),
        *("has", "header", "headers", "in", "is", "key", "must", "needs", "not", "of", "or", "required", "scheme"),
        *("schemes", "security", "the", "to", "token", "tokens", "was", "with"),
    }
)
"""What follows the word bearer in ordinary sentences."""
_NOTHING = frozenset({"", "null", "none", "true", "false"})
_SCOPE = "credentials:read"
"""The name of a scope that looks like a secret behind its name; whoever lacks it is told so."""


def redact_text(text: str) -> str:
    """The text without secrets; the very same object when there is none in it.

    Keys, passwords, credentials of HTTP headers and of URLs, e-mail addresses and social security numbers give way to
    placeholders. A text that is a JSON object or array stays one.
    """
    return redact_closely(text) if may_hold_secret(text) else text


def redact_closely(text: str) -> str:
    """What `redact_text` makes of a text, without the short look that spares most texts the long one."""
    if text[:1] in "{[ \t\r\n" and (value := _parsed(text)) is not None:
        masked = redact_data(value)
        return text if masked is value else json.dumps(masked, ensure_ascii=False)
    return redact_plain(text)


def may_hold_secret(text: str) -> bool:
    """Whether a text, or the value of a JSON text, is to be looked at closely; if not, redaction would change nothing.

    A tenth of the price of a close look, which most texts do not need.
    """
    # An escaped letter could be part of any word.
    if "@" in text or "\\u" in text or "-----BEGIN " in text:
        return True
    for hint in _KEY_HINTS:
        if hint in text:
            return True
    # The one key of everyday that has such a word in it and is open all the same, also where texts are looked at.
    lowered = text.lower().replace('"session_id":', "")
    for stem in _STEMS:
        if stem in lowered:
            return True
    for first, second in _PAIRS:
        if second in lowered and first in lowered:
            return True
    if "-" in text and _SSN_SHAPE.search(text) is not None:
        return True
    return text.count("{") + text.count("[") >= MAX_DEPTH


def redact_plain(text: str) -> str:
    """What `redact_text` makes of a text that is no JSON; for a part of a longer text, which may look like some."""
    for _ in range(_PASSES):
        before, text = text, _redact_plain(text)
        if text == before:
            return before
    return text


def plain_spans(text: str) -> Iterator[tuple[int, int]]:
    """Where in a text that is no JSON there is something that `redact_plain` looks at, kind by kind."""
    for pattern in (KEY_BLOCK, _KEY_SHAPES, _URL_PASSWORD, _EMAIL, _SSN, _COOKIE, _SCHEME, _ASSIGNMENT):
        for match in pattern.finditer(text):
            yield match.span()


def redact_data[T](value: T) -> T:
    """The same value with masked secrets; the very same object when there is none in it.

    Containers keep their shapes and keys. Under a key that names a secret the whole value is masked, but for None,
    truth values, and numbers under names of token counts; every other string goes through `redact_text`.
    """
    masked: T = _redact_value(value, 0)
    return masked


def redact_error(text: str) -> str:
    """The text of an error without secrets and without absolute paths of the machine."""
    return _PATH.sub(REDACTED_PATH, redact_text(text))


def preview(text: str, limit: int = 500) -> str:
    """The first `limit` characters of the text without secrets; a cut is marked at the end."""
    clean = redact_text(text)
    return clean if len(clean) <= limit else clean[:limit] + TRUNCATED


def _redact_value(value: Any, depth: int) -> Any:
    if isinstance(value, str):
        return redact_text(value)
    if isinstance(value, Mapping):
        if depth >= MAX_DEPTH:
            return REDACTED
        masked = {key: _redact_entry(key, item, depth + 1) for key, item in value.items()}
        return masked if any(masked[key] is not item for key, item in value.items()) else value
    if isinstance(value, (list, tuple)):
        if depth >= MAX_DEPTH:
            return REDACTED
        items = [_redact_value(item, depth + 1) for item in value]
        if all(new is old for new, old in zip(items, value, strict=True)):
            return value
        return items if isinstance(value, list) else tuple(items)
    return value


def _redact_entry(key: Any, value: Any, depth: int) -> Any:
    if value is None or isinstance(value, bool) or not isinstance(key, str):
        return _redact_value(value, depth)
    match secrecy(key):
        case Secrecy.OPEN:
            return _redact_value(value, depth)
        case Secrecy.COUNT if isinstance(value, (int, float)):
            return value
        case _:
            return value if value == REDACTED else REDACTED


def _parsed(text: str) -> Any:
    """The value of a text that is a JSON object or array; None for any other text."""
    bare = text.strip(" \t\r\n")
    if bare[:1] + bare[-1:] not in ("{}", "[]"):
        return None
    try:
        return json.loads(bare, parse_float=_finite, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return None  # not JSON after all, or nested beyond reason: the rules for plain text hold


def _finite(digits: str) -> float:
    number = float(digits)
    return number if math.isfinite(number) else _refuse(digits)


def _refuse(digits: str) -> float:
    raise ValueError(digits)


def _redact_plain(text: str) -> str:
    # Substring searches run at the speed of memory; the patterns run only over texts that may hold what they seek.
    if "-----BEGIN " in text:
        text = KEY_BLOCK.sub(REDACTED, text)
    if any(hint in text for hint in _KEY_HINTS):
        text = _KEY_SHAPES.sub(REDACTED, text)
    if "@" in text:
        text = _URL_PASSWORD.sub(rf"\1{REDACTED}@", text)
        text = _EMAIL.sub(REDACTED_EMAIL, text)
    if "-" in text:
        text = _SSN.sub(REDACTED_SSN, text)
    lowered = text.lower()
    assigns = ("=" in text or ":" in text) and any(hint in lowered for hint in _NAME_HINTS)
    if assigns:
        text = _COOKIE.sub(rf"\1{REDACTED}", text)
    if any(hint in lowered for hint in _SCHEME_HINTS):
        text = _SCHEME.sub(_without_credential, text)
    return _ASSIGNMENT.sub(_without_value, text) if assigns else text


def _without_credential(match: re.Match[str]) -> str:
    bearer, digest, other = match["bearer"], match["digest"], match["other"]
    if bearer:
        plain = match["token"].rstrip(".").lower() in _PLAIN_WORDS
        return match[0] if plain else f"{bearer}{REDACTED}"
    if digest:
        return f"{digest}{REDACTED}"
    return f"{other}{REDACTED}" if _looks_random(match["credential"]) else match[0]


def _looks_random(word: str) -> bool:
    """Whether a word has digits, padding or capitals in its midst, as encoded credentials have and words have not."""
    return any(letter.isdigit() or letter == "=" for letter in word) or not (
        word.islower() or word.isupper() or word.istitle()
    )


def _without_value(match: re.Match[str]) -> str:
    value, quote, scheme = match["value"], match["quote"] or "", match["scheme"] or ""
    bare, tail = _split_brackets(value[len(scheme) :])
    if f"{match['name']}{quote}{match['gap']}{bare}" == _SCOPE:
        return match[0]
    if bare.lower() in _NOTHING or ("token" in match["name"].lower() and bare.replace(".", "", 1).isdigit()):
        return match[0]
    if (opened := _OPENING.match(bare)) is not None:
        opening = opened[0]
        closing = opening if len(bare) >= 2 * len(opening) and bare.endswith(opening) else ""
    else:
        # A bare value under a quoted name (truncated JSON, say) gets quotes, so that the rest still reads as JSON.
        opening = closing = quote if not scheme else ""
    return f"{match['name']}{quote}{match['gap']}{scheme}{opening}{REDACTED}{closing}{tail}"


def _split_brackets(value: str) -> tuple[str, str]:
    """A value, and the closing brackets behind a bare one, which belong to what stands around it."""
    if _OPENING.match(value) is not None:
        return value, ""
    bare = value.rstrip("}])")
    if len(bare) < len(REDACTED) and value.startswith(REDACTED):
        bare = REDACTED
    return bare, value[len(bare) :]
