"""What the tests of the service share: a platform in a folder, specs that need no key, and clients at the door."""

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from fastapi.testclient import TestClient

from kneo_serv.platform import PlatformManager
from kneo_serv.platform.options import PlatformOptions
from kneo_serv.service import create_app
from kneo_serv.service.auth import ROLES, AuthConfig
from kneo_serv.service.factory import create_persistence_stores, create_runtime_registry, create_tool_registry
from kneo_serv.spec import SpecCompiler

AGENT: dict[str, Any] = {
    "version": "v1",
    "agent": {"name": "echo", "model": {"provider": "dummy", "name": "dummy"}},
}
"""An agent that answers at once."""

STEPS: dict[str, Any] = {
    "version": "v1",
    "agent": {"name": "echo", "model": {"provider": "dummy", "name": "dummy"}},
    "workflow": {
        "type": "sequential",
        "name": "two-steps",
        "steps": [{"id": "answer", "kind": "agent", "ref": "echo"}, {"id": "loud", "kind": "function", "ref": "shout"}],
    },
    "components": {"functions": {"shout": {"implementation": "tests.service.doors.shout"}}},
}
"""A workflow that completes."""

HUMAN: dict[str, Any] = {
    "version": "v1",
    "agent": {"name": "echo", "model": {"provider": "dummy", "name": "dummy"}},
    "workflow": {
        "type": "sequential",
        "name": "with-a-person",
        "steps": [
            {"id": "answer", "kind": "agent", "ref": "echo"},
            {"id": "approve", "kind": "human", "ref": "reviewer"},
            {"id": "loud", "kind": "function", "ref": "shout"},
        ],
    },
    "components": {
        "functions": {"shout": {"implementation": "tests.service.doors.shout"}},
        "humans": {"reviewer": {"description": "Is it good?"}},
    },
}
"""A workflow that waits for a person."""

FAILING: dict[str, Any] = {
    "version": "v1",
    "agent": {"name": "echo", "model": {"provider": "dummy", "name": "dummy"}},
    "workflow": {
        "type": "sequential",
        "name": "fails",
        "steps": [{"id": "break", "kind": "function", "ref": "fail"}],
    },
    "components": {"functions": {"fail": {"implementation": "tests.service.doors.fail"}}},
}
"""A workflow whose only step fails."""


def shout(text: str) -> str:
    """The text in capitals."""
    return text.upper()


def fail(text: str) -> str:
    """Fails."""
    raise ValueError(f"cannot do {text}")


def platform_in(
    folder: Path, *, options: PlatformOptions | None = None, workers: bool = True, store: Any = None
) -> PlatformManager:
    """A platform whose runs are kept in the folder; shut it down in the end."""
    runs, continuations = create_persistence_stores(state_path=folder / "runs.sqlite")
    manager = PlatformManager(
        compiler=SpecCompiler(runtime_registry=create_runtime_registry(), tool_registry=create_tool_registry()),
        run_state_store=store or runs,
        continuation_store=continuations,
        options=options or PlatformOptions(idle_poll_seconds=0.05, shutdown_timeout_seconds=5.0),
    )
    if workers:
        manager.start_worker()
    return manager


def keys() -> AuthConfig:
    """A key for each role: that of `operator` is `operator-token`, and so on."""
    listed = ";".join(f"{role}:{role}-token:{role}" for role in ROLES)
    return AuthConfig.from_env({"KNEO_SERV_API_KEYS": listed})


def as_role(role: str) -> Mapping[str, str]:
    """The headers of somebody who holds the key of a role."""
    return {"Authorization": f"Bearer {role}-token"}


@contextlib.contextmanager
def door(manager: PlatformManager, auth: AuthConfig | None = None, **given: Any) -> Iterator[TestClient]:
    """A client at the door of an app over this platform; nobody is asked for a key unless `auth` says so."""
    app = create_app(manager=manager, auth_config=auth or AuthConfig.disabled(), **given)
    with TestClient(app, raise_server_exceptions=False) as client:
        yield client


def refusal(answer: Any, status: int) -> dict[str, Any]:
    """The `detail` of an answer that refuses with this status, in the form that all errors have."""
    assert answer.status_code == status, f"{answer.status_code}: {answer.text}"
    detail = answer.json()["detail"]
    assert isinstance(detail, dict), detail
    assert detail["error"], detail
    assert detail["message"], detail
    return detail
