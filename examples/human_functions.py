"""The functions around the person in human_approval_workflow.yaml and smoke_human_workflow.yaml."""

REJECTED = "Rejected by human reviewer:"
"""How the text begins that goes on after a rejection; the reason follows. The next step still runs."""


def draft_report(text: str) -> str:
    """A draft for the person to read."""
    return f"Draft report for: {text}"


def publish_report(text: str) -> str:
    """Publishes what the person approved or edited; a rejection is not published, but passed on with its reason."""
    if text.startswith(REJECTED):
        return f"Not published. {text}".rstrip(": ")
    return f"Published: {text}"
