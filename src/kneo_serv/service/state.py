"""What one app serves. Two apps in one process share nothing of it unless they are given the same manager."""

from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fastapi import Request

from kneo_serv.errors import PlatformClosedError
from kneo_serv.platform import PlatformManager
from kneo_serv.platform.platform import Platform
from kneo_serv.service.auth import AuthConfig, Authenticator
from kneo_serv.service.limits import RequestLimits
from kneo_serv.service.metrics import ServiceMetrics
from kneo_serv.service.open_streams import OpenStreams
from kneo_serv.service.paths import FoundFiles
from kneo_serv.service.rates import RateLimits, Rates
from kneo_serv.service.refusals import Refusals
from kneo_serv.service.shown_runs import ShownRuns
from kneo_serv.settings import Settings


@dataclass(slots=True)
class Service:
    """The manager, and how it is served."""

    manager: PlatformManager | None = None
    auth: AuthConfig = field(default_factory=AuthConfig.disabled)
    limits: RequestLimits = field(default_factory=RequestLimits)
    settings: Settings = field(default_factory=Settings)
    metrics: ServiceMetrics = field(default_factory=ServiceMetrics)
    otherwise: Callable[[], PlatformManager | None] = lambda: None
    """The manager where none was given."""
    draining: bool = False
    """Whether the process is about to end: what never ends by itself should."""
    rates: Rates = field(default_factory=lambda: Rates(RateLimits()))
    shown_runs: ShownRuns = field(default_factory=ShownRuns)
    spec_files: FoundFiles = field(default_factory=FoundFiles)
    working_directory: Path = field(default_factory=Path.cwd)
    """The one in which the app was made."""
    authenticator: Authenticator = field(init=False)
    streams: OpenStreams = field(init=False)
    refusals: Refusals = field(init=False)

    def __post_init__(self) -> None:
        self.authenticator = Authenticator(self.auth)
        self.streams = OpenStreams(self.settings.max_event_streams, shown=self.metrics.streams_open)
        self.refusals = Refusals(self._audit_refusal)

    def drain(self) -> None:
        """Has what never ends by itself end, since the process is about to; on the server's loop."""
        self.draining = True
        self.streams.end()

    @property
    def spec_root(self) -> Path:
        """The folder that specs named by callers must lie in."""
        return self.settings.spec_root or self.working_directory

    @property
    def platform(self) -> PlatformManager:
        """The manager. Raises PlatformClosedError when there is none."""
        manager = self.manager or self.otherwise()
        if manager is None:
            raise PlatformClosedError("The service has no platform: call set_platform_manager(manager) before serving.")
        return manager

    async def reach[T](self, use: Callable[[Platform], Coroutine[Any, Any, T]]) -> T:
        """What `use` makes of the platform, on the platform's own loop, while the server's goes on."""

        async def heard(platform: Platform) -> T:
            self.metrics.hear(platform)
            return await use(platform)

        return await self.platform.reach(heard)

    async def _audit_refusal(self, actor: str | None, tenant: str | None, facts: Mapping[str, Any]) -> None:
        await self.reach(
            lambda platform: platform.audit("auth.refused", actor=actor, tenant=tenant, metadata=dict(facts))
        )


def service_of(request: Request) -> Service:
    """What the app of this request serves."""
    service: Service = request.app.state.service
    return service
