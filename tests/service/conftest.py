"""The fixtures of the service's tests; what they are made of is in `doors.py`."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from kneo_serv.platform import PlatformManager
from tests.service.doors import door, keys, platform_in


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[PlatformManager]:
    """A platform with a worker, in a folder of its own."""
    made = platform_in(tmp_path)
    yield made
    made.shutdown()


@pytest.fixture
def client(manager: PlatformManager) -> Iterator[TestClient]:
    """Somebody at a door that asks nobody for a key."""
    with door(manager) as made:
        yield made


@pytest.fixture
def guarded(manager: PlatformManager) -> Iterator[TestClient]:
    """Somebody at a door that asks for a key: `guarded.get(path, headers=as_role("viewer"))`."""
    with door(manager, keys()) as made:
        yield made
