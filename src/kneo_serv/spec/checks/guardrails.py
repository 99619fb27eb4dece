"""Guardrails: stages, types, actions, and what each type needs."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from kneo_serv.spec.finding import Finding, Hint, error, near
from kneo_serv.spec.models.spec import KneoSpec
from kneo_serv.spec.path import Path
from kneo_serv.spec.walk import agent_key, agents

STAGES = ("input", "output", "tool", "workflow")
TYPES = ("keyword", "regex", "function", "agent")
ACTIONS = ("block", "warn", "retry", "escalate", "human_review", "redact", "revise")
RETRYING_STAGES = ("output", "workflow")
"""Stages of texts that a model wrote: only these can be asked for again."""
REVISING_TYPES = ("function",)
"""Types that have another text to offer."""
KEYS = ("id", "type", "action", "mode", "ref", "target", "config")


def check_guardrails(spec: KneoSpec) -> Iterator[Finding]:
    """Faults of each agent's guardrails."""
    for agent in agents(spec):
        for stage, items in (agent.spec.guardrails or {}).items():
            path = (*agent.path, "guardrails", stage)
            if stage not in STAGES:
                message = f"There is no guardrail stage `{stage}`."
                yield error("E_GUARDRAIL_STAGE", path, message, near(stage, STAGES), key=True)
            elif not isinstance(items, list):
                yield error("E_GUARDRAIL_FIELDS", path, "A stage holds a list of guardrails.")
            else:
                for index, item in enumerate(items):
                    yield from _item(spec, stage, (*path, index), item)


def _item(spec: KneoSpec, stage: str, path: Path, item: Any) -> Iterator[Finding]:
    if not isinstance(item, Mapping):
        yield error("E_GUARDRAIL_FIELDS", path, "A guardrail is a mapping with `id` and `type`.")
        return
    for key in ("id", "type"):
        if not isinstance(item.get(key), str):
            yield error("E_GUARDRAIL_FIELDS", (*path, key), f"A guardrail needs `{key}`, a text.")
    for key in item:
        if key not in KEYS:
            hint = near(key, KEYS)
            yield error("E_GUARDRAIL_FIELDS", (*path, key), f"The key `{key}` is not known here.", hint, key=True)
    if item.get("mode") not in (None, "middleware"):
        message = "The only mode of a guardrail is `middleware`."
        yield error("E_GUARDRAIL_MODE_UNSUPPORTED", (*path, "mode"), message, "Remove `mode`.")
    action = item.get("action", "block")
    fault, cure = _action_fault(stage, item.get("type"), action)
    if fault is not None:
        yield error("E_GUARDRAIL_ACTION_UNSUPPORTED", (*path, "action"), fault, cure)
    if isinstance(item.get("type"), str):
        yield from _type(spec, path, item)


def _action_fault(stage: str, kind: Any, action: Any) -> tuple[str | None, Hint]:
    """Why an action can do nothing here, and what would do."""
    if action not in ACTIONS:
        return f"`{action}` is no action of a guardrail.", near(str(action), ACTIONS)
    if action == "retry" and stage not in RETRYING_STAGES:
        hint = f"Use `retry` at the stages {' and '.join(RETRYING_STAGES)}, and `block` here."
        return f"At the stage `{stage}` there is no answer of a model to ask for again.", hint
    if action == "revise" and kind in TYPES and kind not in REVISING_TYPES:
        hint = "Use `redact` with `config.replacement`, or a function that returns `revised_text`."
        return f"A guardrail of type `{kind}` has no other text to offer.", hint
    return None, None


def _type(spec: KneoSpec, path: Path, item: Mapping[str, Any]) -> Iterator[Finding]:
    kind = item["type"]
    config = item.get("config") or {}
    if not isinstance(config, Mapping):
        yield error("E_GUARDRAIL_CONFIG", (*path, "config"), "`config` is a mapping.")
        return
    yield from _settings((*path, "config"), config)
    match kind:
        case "keyword":
            yield from _texts((*path, "config", "keywords"), config.get("keywords"), "keywords")
        case "regex":
            patterns = config.get("patterns")
            yield from _texts((*path, "config", "patterns"), patterns, "patterns")
            for index, pattern in enumerate(patterns if isinstance(patterns, list) else ()):
                fault = _pattern_fault(pattern)
                if fault is not None:
                    place = (*path, "config", "patterns", index)
                    yield error("E_GUARDRAIL_PATTERN", place, f"The pattern is no regular expression: {fault}.")
        case "function" | "agent":
            yield from _ref(spec, kind, path, item.get("ref"))
        case _:
            hint = near(kind, TYPES)
            yield error("E_GUARDRAIL_TYPE", (*path, "type"), f"There is no guardrail type `{kind}`.", hint)


def _settings(path: Path, config: Mapping[str, Any]) -> Iterator[Finding]:
    for key, kind, words in (
        ("replacement", str, "a text"),
        ("assignee", str, "a text"),
        ("case_sensitive", bool, "true or false"),
    ):
        if key in config and not isinstance(config[key], kind):
            yield error("E_GUARDRAIL_CONFIG", (*path, key), f"`config.{key}` must be {words}.")
    retries = config.get("max_retries", 1)
    if isinstance(retries, bool) or not isinstance(retries, int) or retries < 1:
        message = "`config.max_retries` must be a whole number of at least 1."
        yield error("E_GUARDRAIL_CONFIG", (*path, "max_retries"), message)


def _texts(path: Path, value: Any, name: str) -> Iterator[Finding]:
    if not isinstance(value, list) or not value or not all(isinstance(item, str) and item for item in value):
        yield error("E_GUARDRAIL_CONFIG", path, f"`config.{name}` must be a list of texts, at least one.")


def _pattern_fault(pattern: Any) -> str | None:
    if not isinstance(pattern, str):
        return None
    try:
        re.compile(pattern)
    except (re.error, OverflowError, RecursionError) as fault:
        return str(fault)
    return None


def _ref(spec: KneoSpec, kind: str, path: Path, ref: Any) -> Iterator[Finding]:
    place = (*path, "ref")
    if not isinstance(ref, str):
        yield error("E_GUARDRAIL_REF", place, f"A guardrail of type `{kind}` needs a `ref`.")
    elif kind == "function" and ref not in spec.components.functions:
        hint = near(ref, spec.components.functions)
        yield error("E_GUARDRAIL_REF", place, f"There is no function `{ref}` in components.functions.", hint)
    elif kind == "agent" and agent_key(spec, ref) is None:
        hint = near(ref, [*spec.components.agents, spec.agent.name])
        yield error("E_GUARDRAIL_REF", place, f"There is no agent `{ref}`.", hint)
