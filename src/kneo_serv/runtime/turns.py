"""One model turn over an opened model: question, answer, and the answer while it comes. Load it late."""

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, cast

from pydantic_ai.direct import model_request, model_request_stream
from pydantic_ai.exceptions import ContentFilterError, ModelAPIError, UserError
from pydantic_ai.messages import (
    InstructionPart,
    ModelResponse,
    PartDeltaEvent,
    PartStartEvent,
    TextPart,
    TextPartDelta,
)
from pydantic_ai.models import ModelRequestParameters
from pydantic_ai.output import OutputObjectDefinition
from pydantic_ai.settings import ModelSettings

from kneo_serv.model.message import Turn, TurnRequest
from kneo_serv.runtime.conversation import as_turn, history, offered
from kneo_serv.runtime.models import OpenedModel
from kneo_serv.runtime.telling import Telling

_ANSWER_IN_JSON = (
    "Give your final answer as nothing but a JSON value that fits the JSON Schema below: no text around it and no "
    "Markdown fences.\n\n"
)


async def ask(opened: OpenedModel, request: TurnRequest, telling: Telling | None = None) -> Turn:
    """The model's answer to one request. With `telling` it is told piece by piece, and the same in the end.

    Raises:
        Setback: It may work a moment later.
        ProviderError: It will not.
    """
    with opened.translated():
        parameters, settings = asked(opened, request)
        messages = history(request.messages)
        if telling is None:
            response = await model_request(
                opened.model, messages, model_settings=settings, model_request_parameters=parameters
            )
        else:
            telling.begin()
            async with model_request_stream(
                opened.model, messages, model_settings=settings, model_request_parameters=parameters
            ) as stream:
                async for event in stream:
                    telling.tell(text_of(event))
            response = stream.get()
        check_empty(response)
    turn = replace(as_turn(response), usage=opened.usage(response))
    if telling is not None:
        telling.finish(turn.text)
    return turn


def check_empty(response: ModelResponse) -> None:
    """An answer without anything in it is fine, unless the provider says that it could not or would not give one."""
    if response.parts:
        return
    details = response.provider_details or {}
    if response.finish_reason == "content_filter" and not details.get("refusal"):
        raise ContentFilterError("")
    if response.finish_reason == "error":
        # Such as a wish for a tool that went wrong in the making; the next try is another one.
        raise ModelAPIError(response.model_name or "", str(details.get("finish_reason") or "it broke off"))


def text_of(event: object) -> str:
    """The piece of the answer's text that an event of a stream brings; empty for every other event."""
    match event:
        case PartStartEvent(part=TextPart(content=text)):
            return text
        case PartDeltaEvent(delta=TextPartDelta(content_delta=text)):
            return text
        case _:
            return ""


def asked(opened: OpenedModel, request: TurnRequest) -> tuple[ModelRequestParameters, ModelSettings]:
    """What goes along with the conversation: tools, the shape of the answer, and the settings."""
    parallel = request.parallel_tool_calls or not request.tools
    settings = opened.settings_for(request.headers, parallel_tool_calls=parallel)
    parameters = ModelRequestParameters(function_tools=offered(request.tools))
    if request.output_schema is None:
        return parameters, settings
    native = _natively(opened, request.output_schema, parameters, settings)
    return native or _by_instruction(request.output_schema, parameters), settings


def _natively(
    opened: OpenedModel, schema: Mapping[str, Any], parameters: ModelRequestParameters, settings: ModelSettings
) -> ModelRequestParameters | None:
    """The schema in the provider's own field for it; None where it has none, or none for such a schema."""
    profile = cast("Mapping[str, Any]", opened.model.profile)
    # The APIs that have such a field take objects only.
    if schema.get("type") != "object" or not profile.get("supports_json_schema_output", False):
        return None
    if parameters.function_tools and not _beside_tools(opened, profile):
        return None
    shape = OutputObjectDefinition(json_schema=dict(schema), description=schema.get("description"))
    native = replace(parameters, output_mode="native", output_object=shape)
    try:
        opened.model.prepare_request(settings, native)
    except UserError:  # more than the provider's compiler of schemas takes
        return None
    return native


def _beside_tools(opened: OpenedModel, profile: Mapping[str, Any]) -> bool:
    if opened.provider.name == "google":
        return bool(profile.get("google_supports_tool_combination", False))
    return opened.provider.schema_beside_tools


def _by_instruction(schema: Mapping[str, Any], parameters: ModelRequestParameters) -> ModelRequestParameters:
    text = _ANSWER_IN_JSON + json.dumps(dict(schema), ensure_ascii=False)
    return replace(parameters, instruction_parts=[InstructionPart(content=text)])
