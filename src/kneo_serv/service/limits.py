"""How large a request may be."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Self

from kneo_serv.errors import SettingsError

_PREFIX = "KNEO_SERV_"


@dataclass(frozen=True, slots=True)
class RequestLimits:
    """Bounds of one request; each is set by KNEO_SERV_<NAME>, a whole number above 0."""

    max_body_bytes: int = 1_048_576
    max_head_bytes: int = 65_536
    """Of what comes before a body: method, address and header fields."""
    max_input_chars: int = 20_000
    max_human_content_chars: int = 20_000
    max_inline_spec_bytes: int = 262_144
    max_overrides_bytes: int = 65_536
    max_metadata_bytes: int = 32_768
    max_list_items: int = 100
    max_path_chars: int = 4_096

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> Self:
        """What the environment says. Raises SettingsError."""
        found = {}
        for field in fields(cls):
            variable = f"{_PREFIX}{field.name.upper()}"
            text = environ.get(variable, "").strip()
            if not text:
                continue
            if not (text.isascii() and text.isdigit() and len(text) < 16 and int(text) > 0):
                raise SettingsError(variable, f"{text[:60]!r} must be a whole number above 0.")
            found[field.name] = int(text)
        return cls(**found)
