"""Large JSON texts are kept packed: zlib in base64, since whole batches reach SQLite as JSON, which holds no bytes.

A packed text begins with a mark that no JSON text begins with, so that rows of either form stand side by side.
"""

import base64
import zlib

LEAST = 8_192
"""Characters from which on a text is packed. Below, it would save little and cost every reader."""
_MARK = "z1:"
_LEVEL = 1
_WORTH_IT = 0.8


def pack(text: str) -> str:
    """The JSON text as it is kept: packed when it is large and becomes much smaller."""
    if len(text) < LEAST:
        return text
    try:
        raw = text.encode()
    except UnicodeEncodeError:
        # Half of a surrogate pair: who writes the row replaces it.
        return text
    packed = _MARK + base64.b64encode(zlib.compress(raw, _LEVEL)).decode()
    return packed if len(packed) < len(raw) * _WORTH_IT else text


def unpack(text: str) -> str:
    """The JSON text that was packed."""
    if not text.startswith(_MARK):
        return text
    return zlib.decompress(base64.b64decode(text[len(_MARK) :])).decode()
