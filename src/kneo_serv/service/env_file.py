"""A file with variables, one `NAME=value` a line, as containers and shells write them."""

import re
from pathlib import Path

from kneo_serv.errors import SettingsError

_LINE = re.compile(r"(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)\s*=\s*(.*)", re.DOTALL)


def read_env_file(path: Path) -> dict[str, str]:
    """The variables of the file, in its order; the last one of a name counts.

    Empty lines and lines that begin with `#` are left out. A value may stand in single or double quotes, which keep a
    `#` and spaces at its ends; without them ` #` begins a remark. Nothing is expanded.

    Raises:
        SettingsError: the file cannot be read, or a line has another form; its number is named, its text is not.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no UTF-8 text"
        raise SettingsError(str(path), f"the file cannot be read: {reason}.") from None
    found: dict[str, str] = {}
    for number, raw in enumerate(text.splitlines(), start=1):
        line = raw.strip()
        if not line or line.startswith("#"):
            continue
        parts = _LINE.fullmatch(line)
        value = None if parts is None else _value(parts[2])
        if parts is None or value is None:
            raise SettingsError(str(path), f"line {number} must be NAME=value, in whole quotes or in none.")
        found[parts[1]] = value
    return found


def _value(text: str) -> str | None:
    if text[:1] in ("'", '"'):
        end = text.find(text[0], 1)
        rest = text[end + 1 :].strip()
        return None if end < 0 or (rest and not rest.startswith("#")) else text[1:end]
    return re.split(r"(?:^|\s)#", text, maxsplit=1)[0].strip()
