"""Whether the service can do its work: seven short questions, each with a time limit, none of which reads a list."""

import asyncio
import os
import re
import time
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any

from kneo_serv.model.ids import ContinuationId
from kneo_serv.model.provider_state import Standing
from kneo_serv.platform import PlatformManager
from kneo_serv.platform.platform import Platform
from kneo_serv.runtime import RuntimeRegistry
from kneo_serv.runtime.providers import PROVIDERS
from kneo_serv.service.state import Service

SECONDS = 2.0
"""What a database may take to answer before it counts as gone."""

type Checks = dict[str, dict[str, Any]]


class Readiness:
    """Asks what the service depends on. Questions that hang are not asked again before they are answered."""

    def __init__(self, service: Service, *, seconds: float = SECONDS, environ: Mapping[str, str] = os.environ) -> None:
        self._service = service
        self._seconds = seconds
        self._environ = environ
        self._asked: dict[str, asyncio.Task[bool]] = {}

    async def look(self) -> tuple[bool, dict[str, Any]]:
        """Whether everything is there, and the `metadata` that says what is."""
        paused: dict[str, str] = {}
        store, folder, queue, _told = await asyncio.gather(
            self._check("run_state_store", _store_answers),
            self._check("continuation_store", _tasks_answer),
            self._check("queue", _queue_answers),
            self._check("fleet", partial(_standings, paused)),
        )
        manager = self._manager()
        settings = self._service.settings
        checks: Checks = {
            "run_state_store": store,
            "continuation_store": folder,
            "queue": queue,
            "runtime_registry": _registry("runtime_registry", _modes(manager)),
            "tool_registry": _registry("tool_registry", _tools(manager)),
            "providers": self._secrets("providers", {name: _key_of(name) for name in settings.health_providers}),
            "mcp": self._secrets("mcp", {name: (name,) for name in settings.health_mcp_secrets}),
        }
        # Told, and no reason to be taken out of service: other runs go on, and new ones are taken in.
        checks["providers"] |= {"paused": paused} if paused else {}
        ready = all(check["ok"] for check in checks.values())
        return ready, {"ready": ready, "manager": type(manager).__name__ if manager else None, "checks": checks}

    def _manager(self) -> PlatformManager | None:
        return self._service.manager or self._service.otherwise()

    async def _check(self, name: str, ask: Callable[[Platform], Awaitable[bool]]) -> dict[str, Any]:
        asked = self._asked.get(name)
        if asked is None or asked.done():

            async def answer(platform: Platform) -> bool:
                return await ask(platform)

            asked = self._asked[name] = asyncio.create_task(self._service.reach(answer))
            asked.add_done_callback(_seen)
        done, _ = await asyncio.wait({asked}, timeout=self._seconds)
        fine = bool(done) and not asked.cancelled() and asked.exception() is None and asked.result()
        return {"name": name, "ok": True} if fine else {"name": name, "ok": False, "error": "check_failed"}

    def _secrets(self, name: str, wanted: Mapping[str, tuple[str, ...]]) -> dict[str, Any]:
        items: dict[str, dict[str, Any]] = {}
        for item, variables in wanted.items():
            present = next((one for one in variables if self._environ.get(one, "").strip()), None)
            items[item] = {
                "name": item,
                "env_var": present or variables[0],
                "present": present is not None,
                "value": "[REDACTED]" if present else None,
            }
        check: dict[str, Any] = {"name": name, "ok": all(item["present"] for item in items.values())}
        return check | {"items": items} if items else check


def _seen(task: asyncio.Task[bool]) -> None:
    # A failure that came after the time limit has been told already.
    if not task.cancelled():
        task.exception()


async def _standings(found: dict[str, str], platform: Platform) -> bool:
    standings = {one.name: one.standing(time.time()) for one in await platform.fleet.providers.all()}
    found |= {name: standing.value for name, standing in standings.items() if standing is not Standing.OPEN}
    return True


async def _store_answers(platform: Platform) -> bool:
    return await platform.store.now() > 0


async def _queue_answers(platform: Platform) -> bool:
    await platform.store.runnable(limit=1)
    return True


async def _tasks_answer(platform: Platform) -> bool:
    # The store has the truth of what people are asked; the folder beside it is a view for eyes.
    await platform.store.get_task(ContinuationId("cont_readiness"))
    return True


def _registry(name: str, names: list[str]) -> dict[str, Any]:
    return {"name": name, "ok": bool(names) or name == "tool_registry", "count": len(names), "names": names}


def _modes(manager: PlatformManager | None) -> list[str]:
    registry = manager.compiler.runtime_registry if manager else None
    return sorted(registry.modes) if isinstance(registry, RuntimeRegistry) else []


def _tools(manager: PlatformManager | None) -> list[str]:
    registry = manager.compiler.tool_registry if manager else None
    return sorted(registry.definitions) if registry is not None else []


def _key_of(provider: str) -> tuple[str, ...]:
    known = PROVIDERS.get(provider)
    if known is not None and known.key_variables:
        return known.key_variables
    return (re.sub(r"[^A-Z0-9]", "_", provider.upper()) + "_API_KEY",)
