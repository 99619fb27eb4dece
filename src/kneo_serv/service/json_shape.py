"""What a JSON text may not be, though parsers take it: too deep, no UTF-8, or with values that nothing can keep."""

import json
import re
from itertools import accumulate

DEEPEST = 100
"""Levels of objects and arrays that a body may have."""

# Possessive, and content with a text that never ends, so that no body makes it look twice at a byte.
_TEXT = re.compile(rb'"(?:[^"\\]++|\\.)*+(?:"|\\?\Z)', re.DOTALL)
_NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
_NUMBER = re.compile(rb"NaN|Infinity")
_NO_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_STEPS = {ord("["): 1, ord("{"): 1, ord("]"): -1, ord("}"): -1}


def fault_of(body: bytes) -> str | None:
    """What is wrong with a JSON body that a parser may take; None when nothing is.

    Costs a few passes in C; the long way is only taken where a short look finds something suspicious.
    """
    if b"\0" in body or (_NUL.search(body) is not None):
        return "The body holds a NUL character, which cannot be kept. Leave it out."
    try:
        body.decode("utf-8")
    except UnicodeDecodeError as error:
        return f"The body is no UTF-8 text: byte {error.start} does not fit."
    many = body.count(b"[") + body.count(b"{") > DEEPEST
    number = _NUMBER.search(body) is not None
    if many or number:
        bare = _TEXT.sub(b'""', body)
        if many and _depth(bare) > DEEPEST:
            return f"The body is nested too deeply: at most {DEEPEST} levels are taken."
        if number and _NUMBER.search(bare):
            return "NaN and Infinity are no JSON numbers."
    if _SURROGATE.search(body) is not None and _has_lone_surrogate(body):
        return "The body holds half of a surrogate pair, which is no character. Leave it out."
    return None


def _depth(bare: bytes) -> int:
    brackets = bare.translate(None, _NO_BRACKETS)
    return max(accumulate(map(_STEPS.__getitem__, brackets)), default=0)


def _has_lone_surrogate(body: bytes) -> bool:
    try:
        value = json.loads(body)
    except ValueError:
        # The parser of the route says what is wrong.
        return False
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return True
    return False
