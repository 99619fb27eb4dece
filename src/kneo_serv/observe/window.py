"""Taking secrets out of a text that comes in pieces: a secret may begin in one piece and end in another.

What may be the beginning of a secret is held back until it is clear whether it is one. The pieces that are let out make
together what `redact_text` makes of the whole text, with two exceptions: a text that is JSON as a whole is kept to its
end, since only then every key is known that calls its value secret; and of an e-mail address whose local part is longer
than 64 characters (more than an address may have) and not plain ASCII, the beginning may be let out.
"""

import json
import re

from kneo_serv.observe.redaction import KEY_BLOCK, NAMES, plain_spans, redact_plain, redact_text

_SCHEMES = r"(?:Bearer|Basic|Digest|Negotiate|NTLM|Token|ApiKey)"
_BEGINNINGS = re.compile(
    # A name of a secret, its sign, and a value that has not ended.
    rf"{NAMES}(?:\\*[\"'])?[ \t]*\Z"
    rf"|{NAMES}(?:\\*[\"'])?[ \t]*[=:][ \t]*(?:{_SCHEMES}[ \t]+)?"
    r"(?:\"(?:[^\"\\\r\n]|\\[^\r\n])*+\\?\Z|'(?:[^'\\\r\n]|\\[^\r\n])*+\\?\Z|\\+\"[^\"\\\r\n]*+\\*\Z|[^\s\"'\\,;&]*\\*\Z)"
    # A name of two words, of which the second one has not come as a whole.
    r"|(?:api|access|private|client) (?:ke?)?\Z"
    # A scheme, and a credential that has not ended.
    rf"|{_SCHEMES}[ \t]+[A-Za-z0-9._~+/=-]*\Z"
    r"|Digest[ \t]+[A-Za-z]+=[^\r\n]*\Z"
    r"|Cookie[ \t]*(?::[^\r\n]*)?\Z"
    # What stands between an address's scheme and its host.
    r"|://[^\s/\"']*\Z",
    re.ASCII | re.IGNORECASE,
)
"""Where in the last line of a text a secret may have begun that ends later."""
_OPEN_BLOCK = re.compile(r"-----BEGIN [A-Z ]*(?:-*\Z|-----[^-]*(?:-*[A-Z ]*-*)?\Z)", re.ASCII)
_LOCAL_PART = re.compile(r"[\w.%+-]*\Z")
_DOMAIN = re.compile(r"@[\w.-]*\Z")
_LONGEST_LOCAL_PART = 64
_BLANKS = " \t\r\n\f\v"

_LONGEST_DOUBT = 4096
"""Characters after which a text that still reads as JSON counts as such without being looked at again."""
_LONGEST_LITERAL = 12
"""No number, word or escape of JSON is cut off further than this from where the parser stops at it."""


class RedactionWindow:
    """One text that comes in pieces. Not safe to use from several threads at once."""

    def __init__(self) -> None:
        self._held = ""
        self._plain = False
        """Whether the text is certainly no JSON."""

    def push(self, piece: str) -> str:
        """Takes the next piece; what can be let out by now, without secrets."""
        self._held += piece
        if not self._plain:
            if _may_be_json(self._held):
                return ""
            self._plain = True
        cut = _cut(self._held)
        free, held = self._held[:cut], self._held[cut:]
        clean, whole = redact_plain(free), redact_plain(self._held)
        if whole is not self._held and clean + redact_plain(held) != whole:
            # What is taken out of the one part changes how the other one reads: so they stay together.
            return ""
        self._held = held
        return clean

    def finish(self) -> str:
        """The rest, once the text has ended. The window is empty afterwards, ready for another text."""
        rest, self._held = self._held, ""
        clean = redact_plain(rest) if self._plain else redact_text(rest)
        self._plain = False
        return clean


def _may_be_json(text: str) -> bool:
    bare = text.lstrip(" \t\r\n")
    if not bare:
        return True
    if bare[0] not in "{[":
        return False
    if len(bare) > _LONGEST_DOUBT:
        return True
    try:
        json.loads(bare)
    except json.JSONDecodeError as error:
        return error.pos + _LONGEST_LITERAL >= len(bare) or error.msg.startswith("Unterminated string")
    except (ValueError, RecursionError):
        return False
    return True


def _cut(text: str) -> int:
    """How much of a text can go, whatever follows: up to a boundary that no secret reaches across."""
    # A key with line breaks in it gives way to one word, so that whatever it stands in goes on behind it.
    flat = KEY_BLOCK.sub(lambda block: "x" * len(block[0]), text) if "-----BEGIN " in text else text
    doubt = _doubt(flat, max(flat.rfind("\n"), flat.rfind("\r")) + 1)
    if (block := _OPEN_BLOCK.search(text)) is not None:
        doubt = min(doubt, block.start())
    return _outside(flat, _boundary(flat, doubt))


def _doubt(text: str, line: int) -> int:
    """Where in the last line something may have begun that goes on in what follows; its end where nothing has."""
    starts = [_boundary(text, len(text))]
    if (begun := _BEGINNINGS.search(text, line)) is not None:
        starts.append(begun.start())
    at = _start(_DOMAIN, text, line)
    local = text[max(line, at - _LONGEST_LOCAL_PART) : at]
    starts.append(at - len(local) + _start(_LOCAL_PART, local, 0))
    return min(starts)


def _start(pattern: re.Pattern[str], text: str, at: int) -> int:
    found = pattern.search(text, at)
    return len(text) if found is None else found.start()


def _boundary(text: str, at: int) -> int:
    """The last place up to `at` that parts two words: behind a blank, or behind a letter that is not ASCII."""
    word = max(text.rfind(blank, 0, at) for blank in _BLANKS) + 1
    if text[word:at].isascii():
        return word
    # Digits behind a letter are no social security number, and would be one without it.
    while at > word and (text[at - 1].isascii() or text[at : at + 1].isdigit()):
        at -= 1
    return at


def _outside(text: str, cut: int) -> int:
    """The last boundary up to `cut` that lies in nothing that is redacted as a whole."""
    moved = True
    spans = list(plain_spans(text))
    while moved:
        moved = False
        for start, end in spans:
            if start < cut < end:
                cut, moved = _boundary(text, start), True
    return cut
