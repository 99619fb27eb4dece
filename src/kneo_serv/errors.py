"""One tree of errors. Each has a stable `code` (which doors map to an HTTP status or an exit code) and typed facts.

The classes also derive from the built-in error that a caller would expect (KeyError for an unknown id, ValueError for
bad input, RuntimeError for a state that forbids the call), so that plain Python code handles them without knowing us.
"""

from collections.abc import Sequence
from typing import Any, ClassVar


class KneoError(Exception):
    """Something that the platform refuses or could not do. The text is for people and holds no secret."""

    code: ClassVar[str] = "internal_error"

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message

    def __str__(self) -> str:
        return self.message

    def facts(self) -> dict[str, Any]:
        """The typed facts as JSON values: every public attribute but the message."""
        return {name: value for name, value in vars(self).items() if name != "message" and not name.startswith("_")}


class InvalidRequestError(KneoError, ValueError):
    """A value that was handed in cannot be used; the text names it and says what would do."""

    code = "invalid_request"


class NotFoundError(KneoError, KeyError):
    """Nothing has this id (any more)."""

    code = "not_found"

    def __init__(self, kind: str, name: str) -> None:
        super().__init__(f"Unknown {kind}: {name}")
        self.kind = kind
        self.name = name


class SettingsError(KneoError, ValueError):
    """A setting has a value that cannot be used."""

    code = "settings_invalid"

    def __init__(self, variable: str, problem: str) -> None:
        super().__init__(f"{variable}: {problem}")
        self.variable = variable
        self.problem = problem


class SpecParseError(KneoError, ValueError):
    """A document is no YAML or JSON mapping. `line` and `column` count from 1."""

    code = "spec_unreadable"

    def __init__(
        self, message: str, *, source: str | None = None, line: int | None = None, column: int | None = None
    ) -> None:
        place = ":".join(str(part) for part in (source, line, column) if part is not None)
        super().__init__(f"{place}: {message}" if place else message)
        self.source = source
        self.line = line
        self.column = column


class SpecPathConfinementError(KneoError, ValueError):
    """A path leads outside the folder in which specs may lie."""

    code = "spec_path_confined"


class EnvironmentPolicyError(KneoError, PermissionError):
    """The policy of an environment refuses the spec; `diagnostics` say what it demands."""

    code = "environment_policy_blocked"

    def __init__(self, *, environment: str, diagnostics: Sequence[dict[str, Any]]) -> None:
        reasons = "; ".join(str(item.get("message")) for item in diagnostics)
        super().__init__(f"The policy of environment {environment!r} refuses this spec: {reasons}")
        self.environment = environment
        self.diagnostics = list(diagnostics)


class RunStateConflictError(KneoError, RuntimeError):
    """The status of the run forbids the operation."""

    code = "run_state_conflict"

    def __init__(self, *, run_id: str, status: str, operation: str) -> None:
        super().__init__(f"Run {run_id} is {status}: cannot {operation} it.")
        self.run_id = run_id
        self.status = status
        self.operation = operation


class LockAcquisitionError(KneoError, RuntimeError):
    """Somebody else is at it just now; the same call may succeed, or find nothing to do, a moment later."""

    code = "resource_locked"

    def __init__(self, resource: str) -> None:
        super().__init__(f"{resource} is being worked on by another caller.")
        self.resource = resource


class RequestIdMismatchError(KneoError, ValueError):
    """The answer names another question than the one that is open."""

    code = "request_id_mismatch"

    def __init__(self, *, continuation_id: str, request_id: str) -> None:
        super().__init__(
            f"Human task {continuation_id} has another open request than {request_id}. Read the task again "
            "(kneo human get) and answer the request that it shows."
        )
        self.continuation_id = continuation_id
        self.request_id = request_id


class DecisionNotAllowedError(KneoError, ValueError):
    """The task does not take this decision, option or content."""

    code = "decision_not_allowed"

    def __init__(self, message: str, *, continuation_id: str, allowed: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.continuation_id = continuation_id
        self.allowed = list(allowed)


class IdempotencyKeyConflictError(KneoError, RuntimeError):
    """The idempotency key stands for another request already; nothing was stored. `scope` is the operation."""

    code = "idempotency_key_conflict"

    def __init__(self, scope: str) -> None:
        super().__init__(
            f"This idempotency key was used for another request of {scope}. Send the same request again, or take a new "
            "key for a new one."
        )
        self.scope = scope


class HumanTaskExpiredError(KneoError, RuntimeError):
    """The task's deadline has passed. `expires_at` is seconds since the epoch."""

    code = "human_task_expired"

    def __init__(self, *, continuation_id: str, expires_at: float | None) -> None:
        super().__init__(f"The deadline of human task {continuation_id} has passed.")
        self.continuation_id = continuation_id
        self.expires_at = expires_at


class QueueFullError(KneoError, RuntimeError):
    """No more runs are taken in just now; nothing was stored."""

    code = "queue_full"

    def __init__(self, *, depth: int, limit: int, where: str = "") -> None:
        super().__init__(f"{depth} runs are waiting{where}; the limit is {limit}.")
        self.depth = depth
        self.limit = limit

    def facts(self) -> dict[str, Any]:
        """The typed facts, by the names that clients read."""
        return {"queue_depth": self.depth, "limit": self.limit}


class SessionBusyError(KneoError, RuntimeError):
    """The session has a run at work, and the platform takes in one at a time; nothing was stored."""

    code = "session_busy"

    def __init__(self, session_id: str) -> None:
        super().__init__(
            f"Session {session_id} has a run at work. Wait until it rests, or let runs of a session queue "
            "(KNEO_SERV_SESSION_CONCURRENCY=queue)."
        )
        self.session_id = session_id


class ScheduleExistsError(KneoError, ValueError):
    """There is a schedule of this name already; nothing was stored."""

    code = "schedule_exists"

    def __init__(self, name: str) -> None:
        super().__init__(f"There is a schedule {name!r} already. Change that one, or take another name.")
        self.name = name


class StoreError(KneoError, RuntimeError):
    """The database could not do it."""

    code = "store_unavailable"


class StoreSchemaError(StoreError):
    """The database was made by another program or a newer version, and is left untouched."""

    code = "store_schema"


class StepError(KneoError, RuntimeError):
    """A step could not do its work; its policy says what follows."""

    code = "step_failed"


class StepTimeoutError(StepError, TimeoutError):
    """An attempt of a step took longer than its `timeout_seconds`."""

    code = "step_timeout"


class ProviderError(StepError):
    """A model provider failed or is not available. `transient` says whether a repetition may help."""

    code = "provider_error"

    def __init__(self, message: str, *, provider: str, transient: bool = False) -> None:
        super().__init__(message)
        self.provider = provider
        self.transient = transient


class ProviderPausedError(ProviderError):
    """A provider is not asked just now, since it failed too often, somebody holds it, or its limit is used up.

    `until` is when to try it again, in seconds since the epoch.
    """

    code = "provider_paused"

    def __init__(self, message: str, *, provider: str, until: float) -> None:
        super().__init__(message, provider=provider, transient=True)
        self.until = until


class ToolError(StepError):
    """A tool call went wrong."""

    code = "tool_error"


class ToolUnavailableError(ToolError):
    """The platform has no such tool, or cannot import it. That is its operator's business, not the model's."""

    code = "tool_unavailable"


class ToolOutcomeUnknownError(ToolError):
    """What should have answered a tool call is gone: nobody knows whether the call happened."""

    code = "tool_outcome_unknown"


class ToolPolicyViolation(ToolError):
    """The guard refused a tool call; the handler was not reached."""

    code = "guardrail_violation"

    def __init__(self, message: str, *, tool_name: str) -> None:
        super().__init__(message)
        self.tool_name = tool_name


class ToolArgumentValidationError(ToolError, ValueError):
    """The arguments of a tool call do not fit its JSON Schema."""

    code = "tool_arguments_invalid"

    def __init__(self, message: str, *, tool_name: str) -> None:
        super().__init__(message)
        self.tool_name = tool_name


class GuardrailViolation(StepError):
    """A guardrail refused a text, and no `on_error` absorbs it. The reason never holds the text."""

    code = "guardrail_violation"

    def __init__(self, guardrail_id: str, reason: str) -> None:
        super().__init__(f"Guardrail {guardrail_id!r} failed: {reason}")
        self.guardrail_id = guardrail_id
        self.reason = reason


class HumanInterventionRequired(KneoError):
    """A run cannot go on without a person, in a place where nobody can wait for one."""

    code = "human_intervention_required"


class MissingSecretError(KneoError, RuntimeError):
    """A secret that is needed has no value. The text names the variable."""

    code = "secret_missing"


class MissingExtraError(KneoError, ImportError):
    """An optional part is not installed; the text holds the command that installs it."""

    code = "extra_missing"


class LoopMisuseError(KneoError, RuntimeError):
    """A blocking call was made on the platform's own loop, where it could never come to an end."""

    code = "loop_misuse"


class PlatformClosedError(KneoError, RuntimeError):
    """The platform was shut down."""

    code = "platform_closed"
