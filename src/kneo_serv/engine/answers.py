"""What follows from a person's answer."""

from kneo_serv.model.plan import RequestType
from kneo_serv.model.task import Decision

ALLOWED: dict[RequestType, tuple[Decision, ...]] = {
    RequestType.APPROVAL: (Decision.APPROVED, Decision.REJECTED, Decision.EDITED),
    RequestType.REVIEW: (Decision.APPROVED, Decision.REJECTED, Decision.EDITED, Decision.PROVIDED),
    RequestType.CORRECTION: (Decision.EDITED, Decision.APPROVED, Decision.REJECTED),
    RequestType.SELECTION: (Decision.SELECTED, Decision.REJECTED),
    RequestType.FREEFORM: (Decision.PROVIDED, Decision.REJECTED),
}
"""Which decisions each type of request takes."""

REJECTION = "Rejected by human reviewer: "
"""What a rejected text becomes for the steps that follow, with the reviewer's reason behind it."""


def answer_text(
    decision: Decision, input_text: str, *, content: str | None = None, selected_option: str | None = None
) -> str:
    """Text that goes on to the next step after this answer."""
    match decision:
        case Decision.APPROVED:
            return input_text
        case Decision.REJECTED:
            return REJECTION + (content or "")
        case Decision.SELECTED:
            return selected_option or content or input_text
        case Decision.EDITED | Decision.PROVIDED:
            return content or input_text


def refusal(
    request_type: RequestType,
    options: tuple[str, ...],
    decision: Decision,
    *,
    content: str | None,
    selected_option: str | None,
) -> str | None:
    """Why this answer does not count for a request of this type; None when it does."""
    allowed = ALLOWED[request_type]
    if decision not in allowed:
        names = ", ".join(allowed)
        return f"A request of type {request_type} takes {names}, not {decision}."
    if decision in (Decision.EDITED, Decision.PROVIDED) and not (content or "").strip():
        return f"The decision {decision} needs a content, and it is empty."
    if decision is Decision.SELECTED:
        if not selected_option:
            return f"The decision selected needs an option; offered are: {', '.join(options)}."
        if selected_option not in options:
            return f"{selected_option!r} is not offered; offered are: {', '.join(options)}."
    return None
