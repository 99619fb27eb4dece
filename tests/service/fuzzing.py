"""Requests that schemathesis makes up from our own OpenAPI document, and what the service does wrong with them."""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any

import schemathesis
from pydantic import BaseModel, ValidationError
from schemathesis import Case, CheckContext, HookContext, Response
from schemathesis.core.failures import Failure
from schemathesis.engine import events, from_schema
from schemathesis.python.asgi import shutdown_lifespans
from schemathesis.schemas import BaseSchema
from starlette.types import ASGIApp

from kneo_serv.service.schemas.security import CredentialQuery
from kneo_serv.service.schemas.shapes import Asked
from tests.service.doors import AGENT, FAILING, HUMAN, STEPS

SECRET = "admin-token"
"""The key with which everything is asked."""
LEAKS = re.compile(rf"Traceback|File \\?\"|/(?:home|root|tmp|usr|var|private|Users)/|site-packages|{SECRET}")
"""What no answer to a stranger holds."""

type TaskOf = Callable[[str], tuple[str, str] | None]
"""A continuation that waits, the one that is named if it does, and the id of its request; None where none waits."""

_RULES = ("decision_not_allowed", "guardrail_violation", "spec_path_confined")
_LIVE = "text/event-stream"


@dataclass
class Findings:
    """What came of it."""

    faults: list[str] = field(default_factory=list)
    statuses: set[tuple[str, int]] = field(default_factory=set)
    """Each operation, with each status that it answered."""

    def answered(self, status: int) -> set[str]:
        """The operations that answered with this status at least once."""
        return {operation for operation, one in self.statuses if one == status}


def config(*, examples: int, seed: int | None) -> schemathesis.Config:
    """All stock checks. A request of the right form may still be refused for what it holds, but with 400, not 422."""
    accepted = ["2xx", "3xx", "400", "401", "403", "404", "409", "429", "5xx"]
    generation = {"max-examples": examples, "deterministic": seed is not None, "unique-inputs": True}
    made: dict[str, Any] = {
        "headers": {"Authorization": f"Bearer {SECRET}"},
        "generation": generation,
        "checks": {"positive_data_acceptance": {"expected-statuses": accepted}},
        "continue-on-failure": True,
        "request-timeout": 30,
        "suppress-health-check": ["all"],
    }
    if seed is not None:
        made["seed"] = seed
    return schemathesis.Config.from_dict(made)


def fuzzed_app(app: ASGIApp, *, task_of: TaskOf, examples: int, seed: int) -> Findings:
    """What an app does wrong, in this process; the same requests for the same seed."""
    made = config(examples=examples, seed=seed)
    try:
        return fuzzed(schemathesis.openapi.from_asgi("/openapi.json", app, config=made), task_of)
    finally:
        shutdown_lifespans()


def fuzzed_server(url: str, *, task_of: TaskOf, examples: int) -> Findings:
    """What a server does wrong, over the wire, with other requests each time."""
    made = config(examples=examples, seed=None)
    return fuzzed(schemathesis.openapi.from_url(f"{url}/openapi.json", config=made), task_of)


def fuzzed(schema: BaseSchema, task_of: TaskOf) -> Findings:
    """Runs all phases: examples, edges, chance, and chains of requests in which answers give ids to the next."""
    found = Findings()
    chance = Random(1)
    # A stream of events never ends, and its form is no JSON.
    bounded = schema.exclude(lambda context: _LIVE in str(context.operation.definition.raw.get("responses")))

    @bounded.hook
    def filter_failure(context: HookContext, failure: Failure, case: Case[Any], response: Response) -> bool:
        if "positive_data_acceptance" in failure.checks:
            return not _forbidden(response)
        return "negative_data_rejection" not in failure.checks or not _only_coerced(case)

    @bounded.hook
    def map_case(context: HookContext, case: Case[Any]) -> Case[Any]:
        # By chance alone no spec would ever be one, no run would begin, and no question would be answered.
        body, fields = case.body, _fields_of(case)
        if not isinstance(body, dict) or not _is_positive(case) or chance.random() < 0.4:
            return case
        if "spec" in fields:
            layers = ("overrides", "overlays", "skills", "environment", "spec_path")
            kept = {name: value for name, value in body.items() if name not in layers}
            case.body = {**kept, "spec": chance.choice([AGENT, STEPS, HUMAN, FAILING])}
        elif "request_id" in fields and (task := task_of(str(case.path_parameters.get("continuation_id")))):
            case.path_parameters["continuation_id"] = task[0]
            case.body = {**body, "request_id": task[1], "decision": chance.choice(["approved", "rejected", "edited"])}
        return case

    for event in from_schema(bounded).execute():
        match event:
            case events.ScenarioFinished():
                found.faults += _faults_of(event)
                for case_id, interaction in event.recorder.interactions.items():
                    if interaction.response is not None:
                        label = event.recorder.cases[case_id].value.operation.label
                        found.statuses.add((label, interaction.response.status_code))
            case events.NonFatalError() | events.FatalError():
                found.faults.append(f"the run itself failed: {event.info if hasattr(event, 'info') else event}")
            case _:
                pass
    return found


def _faults_of(event: events.ScenarioFinished) -> Iterator[str]:
    for checks in event.recorder.checks.values():
        for check in checks:
            if check.failure_info is not None:
                told = check.failure_info
                yield f"{check.name}: {told.failure}\n  {told.code_sample}"


@schemathesis.check
def errors_have_their_form_and_leak_nothing(ctx: CheckContext, response: Response, case: Case[Any]) -> bool | None:
    """An error is the envelope, or the list of a wrong shape; and tells nothing of this machine."""
    if response.status_code < 400:
        return None
    text = response.content.decode()
    assert not LEAKS.search(text), f"this tells too much: {text}"
    if not text:
        return None  # to HEAD
    detail = response.json()["detail"]
    if isinstance(detail, list):
        assert response.status_code == 422
        assert all(set(one) == {"type", "loc", "msg"} for one in detail)
    else:
        assert detail["error"]
        assert detail["message"]
    assert response.headers["x-request-id"]
    return None


def _forbidden(response: Response) -> bool:
    """Whether the form was right, and what a rule says of the content was not."""
    detail = response.json()["detail"]
    return isinstance(detail, dict) and detail["error"] in _RULES


def _is_positive(case: Case[Any]) -> bool:
    return case.meta is not None and case.meta.generation.mode.is_positive


def _only_coerced(case: Case[Any]) -> bool:
    """Whether what breaks the schema is a text or number in the place of a boolean or number that it stands for.

    These are taken, as existing clients expect; the model of the route knows them.
    """
    model = _model_of(case)
    try:
        if model is not None:
            model.model_validate(case.body)
        elif case.operation.path.endswith("/security/credentials"):
            # In a query, one value is a list of one.
            query = {name: value for name, value in dict(case.query or {}).items() if value is not None}
            lists = {name: [str(query[name])] for name in ("providers", "extras") if name in query}
            CredentialQuery.model_validate(query | lists)
        else:
            return False
    except ValidationError:
        return False
    return True


def _fields_of(case: Case[Any]) -> Mapping[str, Any]:
    model = _model_of(case)
    return {} if model is None else model.model_fields


def _model_of(case: Case[Any]) -> type[BaseModel] | None:
    content = case.operation.definition.raw.get("requestBody", {}).get("content", {})
    reference = content.get("application/json", {}).get("schema", {}).get("$ref", "")
    return _MODELS.get(reference.rpartition("/")[2])


def _below(model: type[BaseModel]) -> Iterator[type[BaseModel]]:
    for one in model.__subclasses__():
        yield one
        yield from _below(one)


_MODELS = {model.__name__: model for model in _below(Asked)}
