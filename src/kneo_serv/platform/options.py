"""How a platform behaves; read from the environment by `kneo_serv.settings`."""

from dataclasses import dataclass, field
from pathlib import Path

from kneo_serv.model.run import SessionConcurrency
from kneo_serv.observe import TelemetryOptions
from kneo_serv.platform.retention import RetentionPolicy
from kneo_serv.tools.mcp import McpOptions


@dataclass(frozen=True, slots=True)
class BreakerOptions:
    """When a provider is paused, and for how long. Times in seconds."""

    failures: int = 5
    """Questions given up within the window, with no answer in between, after which it is paused; 0 means never."""
    window_seconds: float = 60.0
    pause_seconds: float = 30.0
    """The first pause; each that follows without an answer in between is twice as long."""
    longest_pause_seconds: float = 600.0
    held_seconds: float = 10.0
    """After which a run that met a provider held by hand in the middle of a leg waits for it like those in line."""


@dataclass(frozen=True, slots=True)
class PlatformOptions:
    """Numbers and switches of one platform. Times in seconds."""

    worker_concurrency: int = 4
    """Runs that the workers of this process execute at once; 0 means that it executes none, and others have to."""
    queues: tuple[str, ...] = ()
    """The queues whose runs this process executes; empty means all."""
    lease_seconds: float = 30.0
    """How long a lease lasts; it is renewed after a third of that."""
    idle_poll_seconds: float = 1.0
    """How often an idle worker looks for runs that nobody announced."""
    max_takeovers: int = 5
    """Takeovers without progress after which a run is a dead letter; 0 means never."""
    max_queue_depth: int = 0
    """Runnable runs above which no more are taken in; 0 means no limit."""
    shutdown_timeout_seconds: float = 30.0
    """How long a shutdown waits for the runs in hand."""
    patience_seconds: float | None = 110.0
    """How long a synchronous caller waits; None means until the run rests."""
    timekeeper: bool = True
    """Whether timers fire by themselves once the worker is started."""
    retry_on_timeout: bool = False
    """Whether an attempt that ran into its time limit is retried."""
    handler_threads: int = 32
    """Synchronous functions and tools that run at once."""
    max_abandoned: int = 16
    """Timed-out synchronous calls still running, at which no more are started."""
    trace_max_events: int = 10_000
    """Trace events that one answer holds; 0 means all."""
    watch_seconds: float = 0.2
    """How often a running or waited-for run is compared with what other processes wrote."""
    short_wait_seconds: float = 5.0
    """A retry that is due within this time is waited for under the lease."""
    grace_seconds: float = 2.0
    """How long a cancelled attempt may take to come to its end."""
    text_batch_seconds: float = 0.05
    """How long pieces of what a model says are gathered before they are told to who listens."""
    session_concurrency: SessionConcurrency = SessionConcurrency.QUEUE
    """What becomes of a run whose session has another one at work."""
    token_budget: int | None = None
    """Tokens that one run may use where its plan says nothing."""
    mcp: McpOptions = field(default_factory=McpOptions)
    """How MCP servers are asked."""
    require_spec_bundles: bool = False
    """Whether only signed bundles may run."""
    spec_signing_key: str | None = field(default=None, repr=False)
    """The key that bundles are verified with."""
    breaker: BreakerOptions = field(default_factory=BreakerOptions)
    """When a provider that fails is left alone."""
    retention: RetentionPolicy = field(default_factory=RetentionPolicy)
    """How long things are kept; the timekeeper applies it. By default nothing is removed."""
    spec_root: Path | None = None
    """Folder that relative paths in schedules lie in; None means the working directory."""
    telemetry: TelemetryOptions = field(default_factory=TelemetryOptions)
    """Whether there are spans of OpenTelemetry, and what they may tell."""
