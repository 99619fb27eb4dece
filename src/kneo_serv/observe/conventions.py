"""Every name that our spans use, in one table, since the conventions for generative AI still move.

Names under `gen_ai.` and `error.` are those of the OpenTelemetry semantic conventions 1.41.0 (docs/gen-ai), the last
release before generative AI got a repository of its own. Names under `kneo.` are ours.
"""

from collections.abc import Mapping

SCHEMA_URL = "https://opentelemetry.io/schemas/1.41.0"
"""Version of the conventions, as spans carry it."""

SCOPE = "kneo_serv"
"""Name of the instrumentation scope."""

# Span names. Behind those of the conventions stands what is invoked, asked or executed.
INVOKE_WORKFLOW = "invoke_workflow"
INVOKE_AGENT = "invoke_agent"
CHAT = "chat"
EXECUTE_TOOL = "execute_tool"
DISPATCH_SPAN = "kneo.queue.dispatch"
STEP_SPAN = "kneo.step"
GUARDRAIL_SPAN = "kneo.guardrail"
RUN_ENDED_SPAN = "kneo.run.ended"

# Span events.
EDGE_EVENT = "kneo.edge_taken"
GUARDRAIL_EVENT = "kneo.guardrail_applied"
HUMAN_ASKED_EVENT = "kneo.human_asked"
HUMAN_ANSWERED_EVENT = "kneo.human_answered"
HUMAN_REMINDED_EVENT = "kneo.human_reminded"
HUMAN_ESCALATED_EVENT = "kneo.human_escalated"
HUMAN_EXPIRED_EVENT = "kneo.human_expired"
LATE_OUTCOME_EVENT = "kneo.late_outcome"

# Attributes of the conventions.
ERROR_TYPE = "error.type"
OPERATION = "gen_ai.operation.name"
PROVIDER = "gen_ai.provider.name"
AGENT_NAME = "gen_ai.agent.name"
WORKFLOW_NAME = "gen_ai.workflow.name"
CONVERSATION_ID = "gen_ai.conversation.id"
REQUEST_MODEL = "gen_ai.request.model"
REQUEST_TEMPERATURE = "gen_ai.request.temperature"
REQUEST_MAX_TOKENS = "gen_ai.request.max_tokens"
RESPONSE_MODEL = "gen_ai.response.model"
OUTPUT_TYPE = "gen_ai.output.type"
INPUT_TOKENS = "gen_ai.usage.input_tokens"
OUTPUT_TOKENS = "gen_ai.usage.output_tokens"
CACHED_TOKENS = "gen_ai.usage.cache_read.input_tokens"
TOOL_NAME = "gen_ai.tool.name"
TOOL_TYPE = "gen_ai.tool.type"
TOOL_CALL_ID = "gen_ai.tool.call.id"

# Content, which only the two switches let through.
TOOL_ARGUMENTS = "gen_ai.tool.call.arguments"
TOOL_RESULT = "gen_ai.tool.call.result"
INPUT_MESSAGES = "gen_ai.input.messages"
OUTPUT_MESSAGES = "gen_ai.output.messages"
SYSTEM_INSTRUCTIONS = "gen_ai.system_instructions"
STEP_INPUT = "kneo.step.input"
STEP_OUTPUT = "kneo.step.output"

# Attributes of ours.
RUN_ID = "kneo.run.id"
RUN_STATUS = "kneo.run.status"
RUN_TARGET = "kneo.run.target"
ENVIRONMENT = "kneo.environment"
PLAN_HASH = "kneo.plan.hash"
WORKER_ID = "kneo.worker.id"
LEASE_SECONDS = "kneo.worker.lease_seconds"
FENCE = "kneo.fence"
LEG_NUMBER = "kneo.leg.number"
LEG_REASON = "kneo.leg.reason"
LEG_END = "kneo.leg.end"
INTERRUPTED = "kneo.interrupted"
STEP_ID = "kneo.step.id"
STEP_KEY = "kneo.step.key"
STEP_KIND = "kneo.step.kind"
STEP_INDEX = "kneo.step.index"
STEP_ATTEMPT = "kneo.step.attempt"
STEP_STATUS = "kneo.step.status"
STEP_RESUMED = "kneo.step.resumed"
STEP_RESOLUTION = "kneo.step.resolution"
STEP_FALLBACK_FOR = "kneo.step.fallback_for"
FUNCTION_NAME = "kneo.function.name"
RUNTIME_MODE = "kneo.runtime.mode"
MODEL_TURN = "kneo.model.turn"
MISFIT = "kneo.model.misfit"
TOOL_CALL_COUNT = "kneo.model.tool_calls"
COST = "kneo.usage.cost_usd"
UNCERTAIN = "kneo.uncertain"
TOOL_NUMBER = "kneo.tool.number"
GUARDRAIL_ID = "kneo.guardrail.id"
GUARDRAIL_STAGE = "kneo.guardrail.stage"
GUARDRAIL_ACTION = "kneo.guardrail.action"
GUARDRAIL_PASSED = "kneo.guardrail.passed"
GUARDRAIL_OUTCOME = "kneo.guardrail.outcome"
CONTINUATION_ID = "kneo.continuation.id"
HUMAN_ABOUT = "kneo.human.about"
HUMAN_TYPE = "kneo.human.request_type"
HUMAN_DECISION = "kneo.human.decision"
HUMAN_AUTOMATIC = "kneo.human.automatic"
WAITING = "kneo.waiting"
EDGE_SOURCE = "kneo.edge.source"
EDGE_TARGET = "kneo.edge.target"
OUTCOME = "kneo.outcome"

TOOL_TYPE_FUNCTION = "function"
OUTPUT_TYPE_JSON = "json"

_PROVIDERS: Mapping[str, str] = {"bedrock": "aws.bedrock", "google": "gcp.gemini", "mistral": "mistral_ai"}


def provider_name(provider: str) -> str:
    """What the conventions call one of our providers; one that they do not know keeps its name."""
    return _PROVIDERS.get(provider, provider)
