"""Middleware: code of yours around model turns and tool calls, and the ones that come with the platform."""

from kneo_serv.errors import GuardrailViolation
from kneo_serv.middleware.chain import check
from kneo_serv.middleware.guarding import (
    Action,
    InputGuardrailMiddleware,
    OutputGuardrailMiddleware,
    ToolResultGuardrailMiddleware,
    ToolResultGuardrailViolation,
)
from kneo_serv.middleware.guardrails import (
    AgentGuardrail,
    FunctionGuardrail,
    Guardrail,
    GuardrailResult,
    KeywordGuardrail,
    RegexGuardrail,
)
from kneo_serv.middleware.memory import (
    FullHistoryTransform,
    MemoryMiddleware,
    MemoryTransform,
    RetrievalMemoryTransform,
    SlidingWindowTransform,
    SummaryTransform,
)
from kneo_serv.middleware.run import NextRun, RunConfig, RunContext, RunMiddleware, compose_run_middlewares
from kneo_serv.middleware.tool import NextCall, ToolCallContext, ToolMiddleware, compose_tool_middlewares
from kneo_serv.middleware.tool_policy import ToolPolicyMiddleware
from kneo_serv.middleware.tracing import TraceNote, TracingMiddleware

__all__ = [
    "Action",
    "AgentGuardrail",
    "FullHistoryTransform",
    "FunctionGuardrail",
    "Guardrail",
    "GuardrailResult",
    "GuardrailViolation",
    "InputGuardrailMiddleware",
    "KeywordGuardrail",
    "MemoryMiddleware",
    "MemoryTransform",
    "NextCall",
    "NextRun",
    "OutputGuardrailMiddleware",
    "RegexGuardrail",
    "RetrievalMemoryTransform",
    "RunConfig",
    "RunContext",
    "RunMiddleware",
    "SlidingWindowTransform",
    "SummaryTransform",
    "ToolCallContext",
    "ToolMiddleware",
    "ToolPolicyMiddleware",
    "ToolResultGuardrailMiddleware",
    "ToolResultGuardrailViolation",
    "TraceNote",
    "TracingMiddleware",
    "check",
    "compose_run_middlewares",
    "compose_tool_middlewares",
]
