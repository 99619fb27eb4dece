"""Guardrails that a function or an agent decides. One that cannot be asked does not pass: a guard fails closed."""

import logging
import re
from collections.abc import Mapping
from typing import Any

from kneo_serv.engine import CheckGuardrail, Verdict
from kneo_serv.errors import StepError
from kneo_serv.model.ids import RunId
from kneo_serv.model.plan import Plan
from kneo_serv.observe import current_trace, redact_data, redact_error, redact_text
from kneo_serv.platform.aides import Aides
from kneo_serv.tools import CallContext

log = logging.getLogger("kneo_serv.platform")

_PASS = re.compile(r"\s*PASS\b")
_REASON_CHARACTERS = 500
_REPLY_CHARACTERS = 2000


async def judge(aides: Aides, plan: Plan, run_id: RunId, fence: int, check: CheckGuardrail) -> Verdict:
    """The verdict of a guardrail's function or agent; an error of theirs is a refusal that names its type."""
    place = f"{run_id}:{check.key}:{check.stage}:{check.place}:{check.call_id or ''}"
    ref = check.guardrail.ref or ""
    try:
        if check.guardrail.type == "agent":
            turn = await aides.ask(plan, ref, check.text, key=place, timeout=check.step.timeout_seconds)
            if _PASS.match(turn.text):
                return Verdict(passed=True, usage=turn.usage)
            # The reply may quote the text, so that it must not stand in an error.
            reason = f"Agent {plan.agents[ref].name!r} did not let it pass"
            return Verdict(
                passed=False, reason=reason, usage=turn.usage, metadata={"reply": turn.text[:_REPLY_CHARACTERS]}
            )
        context = CallContext(
            run_id=run_id,
            step_key=check.key,
            name=ref,
            idempotency_key=place,
            attempt=max(check.attempt, 1),
            fence=fence,
            trace=current_trace(),
        )
        value = await aides.call(plan, ref, check.text, context=context, timeout=check.step.timeout_seconds)
        return read_verdict(value)
    except Exception as error:  # noqa: BLE001 - whatever the check raises, the text has not passed it
        fault = type(error).__name__
        log.warning("guardrail %s of run %s: %s: %s", check.guardrail.id, run_id, fault, redact_error(str(error)))
        return Verdict(passed=False, reason=f"The check itself failed ({fault})")


def read_verdict(value: Any) -> Verdict:
    """The verdict that a function returned: a bool, or `{passed, reason, revised_text, metadata}` as map or object.

    Raises:
        StepError: it is neither.
    """
    if isinstance(value, bool):
        return Verdict(passed=value, reason=None if value else "The function did not let it pass")
    names = ("passed", "reason", "revised_text", "metadata")
    said = value if isinstance(value, Mapping) else {name: getattr(value, name, None) for name in names}
    passed, reason, revised = said.get("passed"), said.get("reason"), said.get("revised_text")
    if not isinstance(passed, bool):
        raise StepError("A guardrail function returns True, False, or a mapping with `passed`.")
    metadata = said.get("metadata")
    if reason is None and not passed:
        reason = "The function did not let it pass"
    return Verdict(
        passed=passed,
        reason=None if reason is None else redact_text(str(reason))[:_REASON_CHARACTERS].rstrip(". "),
        revised_text=None if revised is None else str(revised),
        metadata=redact_data(dict(metadata)) if isinstance(metadata, Mapping) else {},
    )
