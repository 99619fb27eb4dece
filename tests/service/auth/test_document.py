"""What docs/security.md says is what is built."""

import re
from pathlib import Path

from kneo_serv.service.auth import ROLES
from kneo_serv.service.auth.config import ADMIN_KEY, ENABLED, KEYS, KEYS_FILE
from kneo_serv.service.auth.oidc import PREFIX, VARIABLES
from kneo_serv.service.auth.roles import ALL
from kneo_serv.service.rates import LIMIT, ROLE_LIMITS

TEXT = (Path(__file__).parents[3] / "docs" / "security.md").read_text(encoding="utf-8")
ROWS = [[cell.strip() for cell in line.strip("|").split("|")] for line in TEXT.splitlines() if line.startswith("|")]


def test_it_names_exactly_the_variables_that_are_read() -> None:
    told = {row[0].strip("`") for row in ROWS if row[0].startswith("`KNEO_SERV_")}
    assert told == {KEYS, KEYS_FILE, ADMIN_KEY, ENABLED, LIMIT, ROLE_LIMITS, *(PREFIX + name for name in VARIABLES)}


def test_it_gives_each_role_the_scopes_that_it_has() -> None:
    told = {row[0].strip("`"): row[1] for row in ROWS if re.fullmatch(r"`[a-z]+`", row[0]) and ":" in row[1] + ":"}
    for role, scopes in ROLES.items():
        assert set(told[role].split()) == ({"all"} if scopes == {ALL} else scopes)
