from pathlib import Path

import pytest

from tests.cli.shell import Shell


@pytest.fixture
def kneo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shell:
    for name in ("KNEO_ENV", "KNEO_PROJECT_CONFIG", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    return Shell(tmp_path)
