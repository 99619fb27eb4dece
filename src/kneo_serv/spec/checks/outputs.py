"""The form of an agent's answers: a JSON Schema, and how often it is asked again."""

from collections.abc import Iterator

from kneo_serv.spec.checks.schemas import check_schema
from kneo_serv.spec.finding import Finding, warning
from kneo_serv.spec.models.spec import KneoSpec
from kneo_serv.spec.walk import agents


def check_outputs(spec: KneoSpec) -> Iterator[Finding]:
    """Faults of what each agent says about the form of its answer."""
    for agent in agents(spec):
        if agent.spec.output_schema is not None:
            path = (*agent.path, "output_schema")
            yield from check_schema("E_OUTPUT_SCHEMA", path, "`output_schema`", agent.spec.output_schema)
        elif agent.spec.output_retries is not None and agent.spec.as_agent is None:
            message = "`output_retries` has an effect only beside `output_schema`."
            place = (*agent.path, "output_retries")
            yield warning("W_OUTPUT_RETRIES_INERT", place, message, "Add `output_schema`, or remove it.")
