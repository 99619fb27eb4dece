from pathlib import Path

import pytest

from tests.cli.shell import Shell


@pytest.fixture
def kneo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shell:
    for name in ("KNEO_ENV", "KNEO_PROJECT_CONFIG", "FORCE_COLOR", "KNEO_SERV_URL", "KNEO_SERV_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    # Whoever runs the tests may have profiles of their own.
    monkeypatch.setenv("KNEO_SERV_PROFILES_PATH", str(tmp_path / "profiles" / "profiles.json"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    return Shell(tmp_path)
