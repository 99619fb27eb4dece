from pathlib import Path

import pytest

from tests.cli.shell import Shell


def prepare(patch: pytest.MonkeyPatch, folder: Path) -> None:
    """Has commands work in the folder, with nothing of what whoever runs the tests has set up."""
    for name in ("KNEO_ENV", "KNEO_PROJECT_CONFIG", "FORCE_COLOR", "KNEO_SERV_URL", "KNEO_SERV_API_KEY"):
        patch.delenv(name, raising=False)
    patch.setenv("KNEO_SERV_PROFILES_PATH", str(folder / "profiles" / "profiles.json"))
    patch.chdir(folder)
    patch.syspath_prepend(str(folder))


@pytest.fixture
def kneo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shell:
    prepare(monkeypatch, tmp_path)
    return Shell(tmp_path)
