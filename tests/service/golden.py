"""The stored OpenAPI document, which clients were made from.

`PYTHONPATH=src python -m tests.service.golden` writes it again after a change. What would break clients is refused;
`--break` says that it is meant.
"""

import json
import sys
from pathlib import Path
from typing import Any

from kneo_serv.service import create_app
from kneo_serv.service.auth import AuthConfig
from kneo_serv.settings import Settings
from tests.service.breaking import breaking_changes

GOLDEN = Path(__file__).with_name("openapi.json")
HOW = "write it again with: PYTHONPATH=src python -m tests.service.golden"


def document() -> dict[str, Any]:
    """The document as it is now; its version is left out, since each release has another one."""
    made = create_app(auth_config=AuthConfig.disabled(), settings=Settings()).openapi()
    return {**made, "info": {**made["info"], "version": "0"}}


def stored() -> dict[str, Any]:
    """The document that is stored."""
    value: dict[str, Any] = json.loads(GOLDEN.read_text(encoding="utf-8"))
    return value


def main() -> None:
    """Writes the document again."""
    made = document()
    broken = breaking_changes(stored(), made) if GOLDEN.exists() else []
    if broken and "--break" not in sys.argv:
        sys.exit("This would break clients; say --break if it is meant:\n  " + "\n  ".join(broken))
    GOLDEN.write_text(json.dumps(made, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    print(f"Wrote {GOLDEN.name}: {len(made['paths'])} paths.")


if __name__ == "__main__":
    main()
