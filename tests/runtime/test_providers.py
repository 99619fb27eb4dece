import re
import tomllib
from pathlib import Path

import pytest

from kneo_serv.runtime.providers import AVAILABLE, PROVIDERS, provider_named, unknown_provider

ROOT = Path(__file__).parents[2]
DOCUMENTED = {
    row[0]: row
    for line in (ROOT / "docs" / "providers.md").read_text().splitlines()
    if line.startswith("| `")
    and not line.startswith("| `provider`")
    and len(row := [cell.strip() for cell in line.strip("|").split("|")]) == 5
}


def test_every_provider_is_documented_with_its_command_and_its_variables() -> None:
    assert tuple(name.strip("`") for name in DOCUMENTED) == AVAILABLE
    for name, entry in PROVIDERS.items():
        _, _, install, key, address = DOCUMENTED[f"`{name}`"]
        assert entry.install in install or install == "part of kneo-serv"
        assert address == f"`{entry.url_variable}`"
        if entry.key_needed:
            assert re.findall(r"`(\w+)`", key) == list(entry.key_variables)


def test_every_install_command_names_an_extra_that_there_is() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    for entry in PROVIDERS.values():
        named = re.search(r"kneo-serv\[(\w+)\]", entry.install)
        assert named is None or named[1] in extras


@pytest.mark.parametrize(
    ("name", "meant"),
    [("Claude", "anthropic"), ("gemini", "google"), ("open-ai", "openai"), ("mistrall", "mistral"), ("aws", "bedrock")],
)
def test_a_name_that_is_nearly_right_is_told_the_right_one(name: str, meant: str) -> None:
    assert provider_named(name) is None
    assert unknown_provider(name).endswith(f"Did you mean {meant!r}?")


def test_the_name_of_the_agents_library_means_openai() -> None:
    assert provider_named("openai-agents") is PROVIDERS["openai"]
