"""Every `KNEO_SERV_*` variable in one place: its type, default, bounds and meaning. Read once, frozen afterwards.

The fields of `Settings` are the table; `SETTINGS` shows it as data, for documentation and for commands that print it.
A variable that is empty counts as unset. A value that does not fit is refused before anything starts.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, Self

from kneo_serv.errors import SettingsError

if TYPE_CHECKING:
    from kneo_serv.platform.options import PlatformOptions

_LONGEST_QUOTE = 60


class Reader(Protocol):
    """Makes a value of a variable's text."""

    @property
    def allowed(self) -> str:
        """What may be given, as it completes the sentence "it must be ..."."""
        ...

    def read(self, text: str) -> Any:
        """The value. Raises ValueError when the text is not allowed."""
        ...


def _within(value: float, minimum: float | None, maximum: float | None, *, above: bool = False) -> bool:
    if minimum is not None and (value <= minimum if above else value < minimum):
        return False
    return maximum is None or value <= maximum


@dataclass(frozen=True, slots=True)
class WholeNumber:
    """Digits, within inclusive bounds."""

    minimum: int
    maximum: int

    @property
    def allowed(self) -> str:
        """The range, in words."""
        return f"a whole number from {self.minimum} to {self.maximum}"

    def read(self, text: str) -> int:
        """The number."""
        if not re.fullmatch(r"[+-]?[0-9]{1,18}", text) or not _within(int(text), self.minimum, self.maximum):
            raise ValueError(text)
        return int(text)


@dataclass(frozen=True, slots=True)
class Seconds:
    """A length of time, whole or with a fraction; `above` leaves the lower bound itself out."""

    minimum: float
    maximum: float
    above: bool = False

    @property
    def allowed(self) -> str:
        """The range, in words."""
        lower = f"above {self.minimum:g}" if self.above else f"from {self.minimum:g}"
        upper = "and at most" if self.above else "to"
        return f"a number of seconds {lower} {upper} {self.maximum:g}"

    def read(self, text: str) -> float:
        """The number of seconds."""
        value = float(text)
        if "_" in text or not math.isfinite(value) or not _within(value, self.minimum, self.maximum, above=self.above):
            raise ValueError(text)
        return value


@dataclass(frozen=True, slots=True)
class Switch:
    """On or off. A word that is neither is refused, so that a typing error never switches something off unseen."""

    @property
    def allowed(self) -> str:
        """The words."""
        return "one of on, true, yes, 1, off, false, no, 0"

    def read(self, text: str) -> bool:
        """Whether it is on."""
        if text.lower() in {"on", "true", "yes", "1"}:
            return True
        if text.lower() in {"off", "false", "no", "0"}:
            return False
        raise ValueError(text)


@dataclass(frozen=True, slots=True)
class Choice:
    """One of a few words, in upper or lower case."""

    words: tuple[str, ...]

    @property
    def allowed(self) -> str:
        """The words."""
        return f"one of {', '.join(self.words)}"

    def read(self, text: str) -> str:
        """The word as it stands in the list."""
        for word in self.words:
            if word.casefold() == text.casefold():
                return word
        raise ValueError(text)


@dataclass(frozen=True, slots=True)
class Names:
    """Names with commas between them, each once."""

    @property
    def allowed(self) -> str:
        """In words."""
        return "names of letters, digits, hyphens, dots and underlines, with commas between them"

    def read(self, text: str) -> tuple[str, ...]:
        """The names in their order."""
        names = [name.strip() for name in text.split(",") if name.strip()]
        if not all(re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}", name) for name in names):
            raise ValueError(text)
        return tuple(dict.fromkeys(names))


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder that exists; `~` is the home folder."""

    @property
    def allowed(self) -> str:
        """In words."""
        return "a folder that exists"

    def read(self, text: str) -> Path:
        """The absolute path."""
        path = Path(text).expanduser()
        if not path.is_dir():
            raise ValueError(text)
        return path.resolve()


@dataclass(frozen=True, slots=True)
class ImportPath:
    """Where a function is: `package.module:function`, or with a dot."""

    @property
    def allowed(self) -> str:
        """In words."""
        return "an import path such as my_package.my_module:my_function"

    def read(self, text: str) -> str:
        """The path."""
        if not re.fullmatch(r"\w+(\.\w+)*[.:]\w+", text):
            raise ValueError(text)
        return text


@dataclass(frozen=True, slots=True)
class ImportPaths:
    """Several import paths, with commas between them."""

    @property
    def allowed(self) -> str:
        """In words."""
        return "import paths such as my_package.my_module:my_function, with commas between them"

    def read(self, text: str) -> tuple[str, ...]:
        """The paths, in order."""
        return tuple(ImportPath().read(part.strip()) for part in text.split(","))


@dataclass(frozen=True, slots=True)
class DatabaseAddress:
    """The address of PostgreSQL, or one whose scheme names a plugin. It may hold a password, so no text quotes it."""

    @property
    def allowed(self) -> str:
        """In words."""
        return (
            "an address such as postgresql://user:password@host:5432/name, or one such as mydb://host/name, whose "
            "scheme an installed plugin serves"
        )

    def read(self, text: str) -> str:
        """The address."""
        scheme = re.match(r"([A-Za-z][A-Za-z0-9+.-]*):", text)
        if scheme is None:
            raise SettingsError("", f"this is not allowed; it must be {self.allowed}.")
        return text


@dataclass(frozen=True, slots=True)
class Word:
    """The name of something, in lower case."""

    @property
    def allowed(self) -> str:
        """In words."""
        return "a word of lower-case letters, digits, - and _"

    def read(self, text: str) -> str:
        """The word."""
        if not re.fullmatch(r"[a-z][a-z0-9_-]*", text):
            raise ValueError(text)
        return text


def _setting(variable: str, default: Any, reader: Reader, about: str, *, shown: bool = True) -> Any:
    return field(default=default, repr=shown, metadata={"variable": variable, "reader": reader, "help": about})


_DAY = 86_400


@dataclass(frozen=True, slots=True)
class Settings:
    """What the environment says about this installation. All times in seconds."""

    database_url: str | None = _setting(
        "KNEO_SERV_DATABASE_URL",
        None,
        DatabaseAddress(),
        "Where the state is kept instead of SQLite: in PostgreSQL (postgresql://user:password@host:5432/name), or "
        "where the installed plugin keeps it that the scheme names.",
        shown=False,
    )
    database_pool_size: int = _setting(
        "KNEO_SERV_DATABASE_POOL_SIZE",
        8,
        WholeNumber(2, 200),
        "How many connections to PostgreSQL one process keeps at most.",
    )
    database_behind_pooler: bool = _setting(
        "KNEO_SERV_DATABASE_BEHIND_POOLER",
        False,
        Switch(),
        "Whether a proxy that pools transactions (such as PgBouncer) stands before PostgreSQL; no statement is "
        "prepared then.",
    )
    dispatcher: str = _setting(
        "KNEO_SERV_DISPATCHER",
        "embedded",
        Word(),
        "Who hands out runs to workers: this process by itself, or an installed plugin of this name.",
    )
    plugins: bool = _setting(
        "KNEO_SERV_PLUGINS",
        True,
        Switch(),
        "Whether tools, middlewares, providers, runtimes, stores and dispatchers of installed plugins are there.",
    )
    sqlite_synchronous: str = _setting(
        "KNEO_SERV_SQLITE_SYNCHRONOUS",
        "FULL",
        Choice(("FULL", "NORMAL")),
        "FULL survives a power failure with everything that was acknowledged; NORMAL is faster and may lose the last "
        "moments then, never more.",
    )
    spec_root: Path | None = _setting(  # noqa: RUF009 - a field like the others; a path never changes
        "KNEO_SERV_SPEC_ROOT",
        None,
        Folder(),
        "Folder that specs named by callers of the service must lie in; unset means the folder it was started in.",
    )
    worker_concurrency: int = _setting(
        "KNEO_SERV_WORKER_CONCURRENCY",
        4,
        WholeNumber(0, 1024),
        "How many runs this process executes at a time; 0 leaves them to other processes (`kneo worker`).",
    )
    worker_queues: tuple[str, ...] = _setting(
        "KNEO_SERV_WORKER_QUEUES",
        (),
        Names(),
        "Queues whose runs this process executes, with commas between them; unset means all.",
    )
    worker_lease_seconds: float = _setting(
        "KNEO_SERV_WORKER_LEASE_SECONDS",
        30.0,
        Seconds(1, _DAY),
        "How long a run stays with a worker that gives no sign of life; renewed every third of it.",
    )
    worker_idle_poll_seconds: float = _setting(
        "KNEO_SERV_WORKER_IDLE_POLL_SECONDS", 1.0, Seconds(0, 3600, above=True), "How often an idle worker looks."
    )
    queue_max_attempts: int = _setting(
        "KNEO_SERV_QUEUE_MAX_ATTEMPTS",
        5,
        WholeNumber(0, 1_000_000),
        "A run that was taken over this often without progress fails as a dead letter; 0 means never.",
    )
    max_queue_depth: int = _setting(
        "KNEO_SERV_MAX_QUEUE_DEPTH",
        0,
        WholeNumber(0, 1_000_000_000),
        "No more runs are taken in while this many wait; 0 means no limit.",
    )
    shutdown_timeout_seconds: float = _setting(
        "KNEO_SERV_SHUTDOWN_TIMEOUT_SECONDS", 30.0, Seconds(0, _DAY), "How long a stop waits for the runs in hand."
    )
    timekeeper: bool = _setting(
        "KNEO_SERV_TIMEKEEPER",
        True,
        Switch(),
        "Whether deadlines, schedules and retention are seen to by the platform itself; off leaves them to your calls.",
    )
    patience_seconds: float = _setting(
        "KNEO_SERV_PATIENCE_SECONDS",
        110.0,
        Seconds(0, _DAY),
        "How long a caller waits for an answer; the run goes on after it.",
    )
    workflow_retry_on_timeout: bool = _setting(
        "KNEO_SERV_WORKFLOW_RETRY_ON_TIMEOUT",
        False,
        Switch(),
        "Whether a step that took too long is tried again, as far as its policy has retries.",
    )
    provider_timeout_seconds: float = _setting(
        "KNEO_SERV_PROVIDER_TIMEOUT_SECONDS", 120.0, Seconds(0, _DAY, above=True), "Time limit of one model turn."
    )
    provider_retries: int = _setting(
        "KNEO_SERV_PROVIDER_RETRIES", 2, WholeNumber(0, 100), "Further attempts after a passing fault of a provider."
    )
    provider_retry_backoff_seconds: float = _setting(
        "KNEO_SERV_PROVIDER_RETRY_BACKOFF_SECONDS",
        0.5,
        Seconds(0, 60),
        "Wait before the first further attempt, doubled with each one; a provider that asks for more gets more.",
    )
    provider_retry_on_timeout: bool = _setting(
        "KNEO_SERV_PROVIDER_RETRY_ON_TIMEOUT",
        False,
        Switch(),
        "Whether the time limit holds for each attempt, and one that ran out of it is followed by the next.",
    )
    provider_pause_failures: int = _setting(
        "KNEO_SERV_PROVIDER_PAUSE_FAILURES",
        5,
        WholeNumber(0, 1_000_000),
        "Questions given up within the window, with no answer in between, after which a provider is left alone; 0 "
        "means never.",
    )
    provider_pause_window_seconds: float = _setting(
        "KNEO_SERV_PROVIDER_PAUSE_WINDOW_SECONDS", 60.0, Seconds(0, _DAY, above=True), "The window of these failures."
    )
    provider_pause_seconds: float = _setting(
        "KNEO_SERV_PROVIDER_PAUSE_SECONDS",
        30.0,
        Seconds(0, _DAY, above=True),
        "How long a provider that fails is left alone before one run tries it; doubled each time that it fails then.",
    )
    provider_pause_max_seconds: float = _setting(
        "KNEO_SERV_PROVIDER_PAUSE_MAX_SECONDS", 600.0, Seconds(0, _DAY, above=True), "The longest such pause."
    )
    mcp_connect_timeout_seconds: float = _setting(
        "KNEO_SERV_MCP_CONNECT_TIMEOUT_SECONDS",
        30.0,
        Seconds(0, _DAY, above=True),
        "How long an MCP server may take to start, or to be reached, and to introduce itself.",
    )
    mcp_timeout_seconds: float = _setting(
        "KNEO_SERV_MCP_TIMEOUT_SECONDS",
        120.0,
        Seconds(0, _DAY, above=True),
        "Time limit of one call of an MCP tool, where neither the tool nor its server sets one.",
    )
    mcp_retries: int = _setting(
        "KNEO_SERV_MCP_RETRIES",
        0,
        WholeNumber(0, 100),
        "Further attempts when an MCP server cannot be reached, or ends during a call that may be repeated.",
    )
    mcp_retry_backoff_seconds: float = _setting(
        "KNEO_SERV_MCP_RETRY_BACKOFF_SECONDS", 0.5, Seconds(0, 60), "Wait before the first of them; it doubles."
    )
    mcp_idle_seconds: float = _setting(
        "KNEO_SERV_MCP_IDLE_SECONDS",
        300.0,
        Seconds(0, _DAY),
        "How long a session with an MCP server is kept that nobody uses.",
    )
    token_budget: int | None = _setting(
        "KNEO_SERV_TOKEN_BUDGET",
        None,
        WholeNumber(1, 10**15),
        "Tokens that one run may use; `model.token_budget` of the spec wins. Unset means no limit.",
    )
    session_concurrency: str = _setting(
        "KNEO_SERV_SESSION_CONCURRENCY",
        "queue",
        Choice(("queue", "reject", "interleave")),
        "What becomes of a run whose session has another one at work: it waits, is refused, or runs beside it.",
    )
    require_spec_bundles: bool = _setting(
        "KNEO_SERV_REQUIRE_SPEC_BUNDLES",
        False,
        Switch(),
        "Whether only signed bundles may run; KNEO_SERV_SPEC_SIGNING_KEY holds the key.",
    )
    tools: tuple[str, ...] = _setting(
        "KNEO_SERV_TOOLS",
        (),
        ImportPaths(),
        "Functions that are called with the ToolRegistry to register tools of your own; the option --tools wins.",
    )
    factory: str | None = _setting(
        "KNEO_SERV_FACTORY",
        None,
        ImportPath(),
        "Function that builds the PlatformManager instead of the platform itself; the option --factory wins.",
    )
    trace_max_events: int = _setting(
        "KNEO_SERV_TRACE_MAX_EVENTS", 10_000, WholeNumber(0, 10**9), "Events that a trace shows at most; 0 means all."
    )
    otel_enabled: bool = _setting(
        "KNEO_SERV_OTEL_ENABLED",
        False,
        Switch(),
        "Whether runs are told of in spans of OpenTelemetry; needs the extra kneo-serv[telemetry].",
    )
    otel_record_arguments: bool = _setting(
        "KNEO_SERV_OTEL_RECORD_ARGUMENTS",
        False,
        Switch(),
        "Whether spans hold what goes in: arguments of tools, prompts, inputs of steps, without secrets.",
    )
    otel_record_results: bool = _setting(
        "KNEO_SERV_OTEL_RECORD_RESULTS",
        False,
        Switch(),
        "Whether spans hold what comes out: results of tools, answers of models, outputs of steps, texts of errors.",
    )
    log_level: str = _setting(
        "KNEO_SERV_LOG_LEVEL",
        "INFO",
        Choice(("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")),
        "From which level on log lines are written.",
    )
    log_format: str = _setting(
        "KNEO_SERV_LOG_FORMAT",
        "json",
        Choice(("json", "text")),
        "Whether the service logs one JSON object a line, or lines for eyes.",
    )
    request_logs: bool = _setting(
        "KNEO_SERV_REQUEST_LOGS", True, Switch(), "Whether the service logs a line for each request."
    )
    request_head_seconds: float = _setting(
        "KNEO_SERV_REQUEST_HEAD_SECONDS",
        15.0,
        Seconds(0, 3600, above=True),
        "How long the head of a request may take to arrive, from the opening of the connection on.",
    )
    request_body_seconds: float = _setting(
        "KNEO_SERV_REQUEST_BODY_SECONDS",
        30.0,
        Seconds(0, 3600, above=True),
        "How long the body of a request may take to arrive.",
    )
    event_heartbeat_seconds: float = _setting(
        "KNEO_SERV_EVENT_HEARTBEAT_SECONDS",
        15.0,
        Seconds(1, 300),
        "After how long a silence a stream of events gives a sign of life, and how often its key is looked at again.",
    )
    max_event_streams: int = _setting(
        "KNEO_SERV_MAX_EVENT_STREAMS",
        256,
        WholeNumber(1, 100_000),
        "How many streams of events may be open in this process at a time.",
    )
    metrics_enabled: bool = _setting(
        "KNEO_SERV_METRICS_ENABLED", True, Switch(), "Whether the service shows its numbers at /metrics."
    )
    health_providers: tuple[str, ...] = _setting(
        "KNEO_SERV_HEALTH_PROVIDERS",
        (),
        Names(),
        "Providers without whose key the service is not ready, with commas between them.",
    )
    health_mcp_secrets: tuple[str, ...] = _setting(
        "KNEO_SERV_HEALTH_MCP_SECRETS",
        (),
        Names(),
        "Variables with secrets of MCP servers without which the service is not ready, with commas between them.",
    )
    client_timeout: float = _setting(
        "KNEO_SERV_CLIENT_TIMEOUT",
        120.0,
        Seconds(0, _DAY, above=True),
        "How long the command line waits for a service to answer one request.",
    )
    client_retries: int = _setting(
        "KNEO_SERV_CLIENT_RETRIES",
        2,
        WholeNumber(0, 100),
        "How often the command line asks a service again that did not answer or could not do it just then.",
    )
    client_retry_backoff_seconds: float = _setting(
        "KNEO_SERV_CLIENT_RETRY_BACKOFF_SECONDS",
        0.25,
        Seconds(0, 60, above=True),
        "Wait before the first of these attempts, doubled with each one; a service that asks for more gets more.",
    )

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> Self:
        """The settings of an environment, such as `os.environ`.

        Raises:
            SettingsError: values that are not allowed; all of them are named at once, the first one as `variable`.
        """
        values: dict[str, Any] = {}
        faults: list[tuple[str, str]] = []
        for setting in SETTINGS:
            text = environ.get(setting.variable, "").strip()
            if not text:
                continue
            try:
                values[setting.name] = setting.reader.read(text)
            except SettingsError as error:
                faults.append((setting.variable, error.problem))
            except ValueError:
                faults.append((setting.variable, f"{_quote(text)} is not allowed; it must be {setting.allowed}."))
        if faults:
            (variable, problem), *others = faults
            raise SettingsError(variable, "\n".join([problem, *(f"{name}: {text}" for name, text in others)]))
        return cls(**values)

    def platform_options(self) -> "PlatformOptions":
        """The part of the settings that the platform works by."""
        from kneo_serv.model.run import SessionConcurrency
        from kneo_serv.observe import TelemetryOptions
        from kneo_serv.platform.options import BreakerOptions, PlatformOptions
        from kneo_serv.tools.mcp import McpOptions

        return PlatformOptions(
            worker_concurrency=self.worker_concurrency,
            queues=self.worker_queues,
            lease_seconds=self.worker_lease_seconds,
            idle_poll_seconds=self.worker_idle_poll_seconds,
            max_takeovers=self.queue_max_attempts,
            max_queue_depth=self.max_queue_depth,
            shutdown_timeout_seconds=self.shutdown_timeout_seconds,
            patience_seconds=self.patience_seconds,
            timekeeper=self.timekeeper,
            retry_on_timeout=self.workflow_retry_on_timeout,
            trace_max_events=self.trace_max_events,
            require_spec_bundles=self.require_spec_bundles,
            spec_root=self.spec_root,
            mcp=McpOptions(
                connect_seconds=self.mcp_connect_timeout_seconds,
                call_seconds=self.mcp_timeout_seconds,
                retries=self.mcp_retries,
                backoff_seconds=self.mcp_retry_backoff_seconds,
                idle_seconds=self.mcp_idle_seconds,
            ),
            session_concurrency=SessionConcurrency(self.session_concurrency),
            token_budget=self.token_budget,
            breaker=BreakerOptions(
                failures=self.provider_pause_failures,
                window_seconds=self.provider_pause_window_seconds,
                pause_seconds=self.provider_pause_seconds,
                longest_pause_seconds=self.provider_pause_max_seconds,
            ),
            telemetry=TelemetryOptions(
                enabled=self.otel_enabled,
                record_arguments=self.otel_record_arguments,
                record_results=self.otel_record_results,
            ),
        )


@dataclass(frozen=True, slots=True)
class Setting:
    """One row of the table: the variable, the field of `Settings` that it fills, what it may be and what it means."""

    variable: str
    name: str
    default: Any
    reader: Reader
    help: str

    @property
    def allowed(self) -> str:
        """What may be given, in words."""
        return self.reader.allowed


SETTINGS: tuple[Setting, ...] = tuple(
    Setting(row.metadata["variable"], row.name, row.default, row.metadata["reader"], row.metadata["help"])
    for row in fields(Settings)
)
"""Every variable that is read, in the order of the documentation."""


def _quote(text: str) -> str:
    shown = text if len(text) <= _LONGEST_QUOTE else f"{text[: _LONGEST_QUOTE - 1]}…"
    return repr(shown)
