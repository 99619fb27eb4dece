"""Forks: what is asked and answered."""

from typing import Any

from pydantic import ConfigDict, Field

from kneo_serv.errors import InvalidRequestError
from kneo_serv.model.task import Decision
from kneo_serv.service.limits import RequestLimits
from kneo_serv.service.schemas.bounds import Bounds
from kneo_serv.service.schemas.runs import RunCreateResponse
from kneo_serv.service.schemas.shapes import Answered, Asked, NoQuery

_RUN_ID = "run_2026-05-10T12:34:56_4k0Yw3m1TzqJ0b2c5d6e7f"
_FORK_ID = "run_2026-05-10T14:02:11_9fQm2Lr7XbYt0c1d3e5g7h"
_PREVIEW_EXAMPLE: dict[str, Any] = {
    "run_id": _RUN_ID,
    "at_sequence": 2,
    "kept_steps": ["draft"],
    "repeated_side_effects": [{"step_id": "publish", "kind": "function", "ref": "publish", "effect": "once"}],
}
_FORK_EXAMPLE: dict[str, Any] = {"at_sequence": 2, "input": "Tea is a drink.", "accept_side_effects": True, "wait": 20}
_FORKED_EXAMPLE: dict[str, Any] = {
    "run_id": _FORK_ID,
    "status": "completed",
    "output_text": "Published: Tea is a drink.",
    "human_intervention_required": False,
    "continuation_id": None,
    "error": None,
    "metadata": {"workflow": {"name": "article", "type": "sequential", "visited_steps": ["draft", "publish"]}},
    "forked_from": {"run_id": _RUN_ID, "at_sequence": 2},
}


class ForkPreviewQuery(NoQuery):
    """Where the fork would begin."""

    at_sequence: int | None = Field(
        default=None, ge=1, description="Of a checkpoint; the last one that can be gone on from by default."
    )


class RepeatedEffectItem(Answered):
    """Something that the run began, and that a fork may do once more."""

    step_id: str
    kind: str = Field(description="`function` or `tool`.")
    ref: str = Field(description="Name of the function or of the tool.")
    effect: str = Field(description="`keyed`, `once`, or `undeclared`.")


class ForkPreviewResponse(Answered):
    """What a fork at a checkpoint would keep, and what it may do once more."""

    model_config = ConfigDict(extra="allow", json_schema_extra={"example": _PREVIEW_EXAMPLE})

    run_id: str
    at_sequence: int
    kept_steps: list[str] = Field(description="Ids of the finished steps, in the order in which they finished.")
    repeated_side_effects: list[RepeatedEffectItem]


class ForkAnswer(Asked):
    """The answer to the question that is open at the checkpoint."""

    request_id: str = Field(default="", description="That of the parent; empty where only one question is open.")
    decision: Decision
    content: str | None = Field(default=None, description="The new text with `edited` and `provided`; else a comment.")
    selected_option: str | None = Field(default=None, description="One of the request's options, with `selected`.")
    metadata: dict[str, Any] = Field(default_factory=dict)


class RunForkRequest(Asked):
    """From where a new run begins, and what in it is to be other than in its parent."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": _FORK_EXAMPLE})

    at_sequence: int | None = Field(
        default=None, ge=1, description="Of a checkpoint; the last one that can be gone on from by default."
    )
    retry: bool = Field(
        default=False, description="Begin before that which ended the run badly. Goes without `at_sequence`."
    )
    input: str | None = Field(default=None, description="Replaces the text that flows into the next step.")
    answer: ForkAnswer | None = Field(
        default=None, description="Needs the scope `human:write`, and a checkpoint of type `human_pause`."
    )
    model: dict[str, Any] | None = Field(
        default=None,
        description="`provider` and `name`, and what else of the model is to change, for all agents from there on.",
        examples=[{"provider": "openai", "name": "gpt-4o-mini"}],
    )
    accept_side_effects: bool = Field(
        default=False, description="Whether what the preview lists may happen once more; else that is 409."
    )
    async_mode: bool = Field(default=False, description="Answer at once, with 202, and do not wait for the run.")
    wait: float | None = Field(
        default=None,
        ge=0,
        le=86_400,
        allow_inf_nan=False,
        description="Seconds to wait until the run rests or ends (KNEO_SERV_PATIENCE_SECONDS by default). When they "
        "are over, the answer is 202 and the run goes on.",
    )

    def check(self, limits: RequestLimits) -> None:
        """Raises RequestValidationError where something is larger than this service takes, and InvalidRequestError."""
        if self.retry and self.at_sequence is not None:
            raise InvalidRequestError("A retry finds the checkpoint by itself: leave at_sequence out.")
        bounds = Bounds()
        bounds.chars("input", self.input, limits.max_input_chars)
        if self.model is not None:
            bounds.json_bytes("model", self.model, limits.max_overrides_bytes)
        if self.answer is not None:
            bounds.chars("answer.request_id", self.answer.request_id, limits.max_path_chars)
            bounds.chars("answer.selected_option", self.answer.selected_option, limits.max_path_chars)
            bounds.chars("answer.content", self.answer.content, limits.max_human_content_chars)
            bounds.json_bytes("answer.metadata", self.answer.metadata, limits.max_metadata_bytes)
        bounds.check()


class ForkOrigin(Answered):
    """Where a fork comes from."""

    run_id: str
    at_sequence: int | None = Field(description="Null where retention has removed what says so.")


class RunForkResponse(RunCreateResponse):
    """How the new run stands, and where it comes from."""

    model_config = ConfigDict(extra="allow", json_schema_extra={"example": _FORKED_EXAMPLE})

    forked_from: ForkOrigin
