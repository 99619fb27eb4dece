"""How a question to a person is shown: what is asked, the text under review, and the commands that answer."""

import json
import shlex
from collections.abc import Mapping
from typing import Any

from kneo_serv.cli.terminal import show, show_facts, show_heading
from kneo_serv.model.plan import RequestType
from kneo_serv.model.task import Decision

_FLAGS = {
    Decision.APPROVED: ["--approve"],
    Decision.REJECTED: ["--reject"],
    Decision.EDITED: ["--edit", "NEW TEXT"],
    Decision.PROVIDED: ["--provide", "TEXT"],
}


def show_question(request: Mapping[str, Any], *, continuation_id: str, run_id: str | None = None) -> None:
    """Shows a request as the platform gives it, with the commands to copy."""
    context = dict(request.get("context") or {})
    text = context.pop("input_text", None)
    options = [str(option) for option in request.get("options") or ()]
    show_facts(
        [
            ("run", run_id),
            ("continuation", continuation_id),
            ("request", request.get("id")),
            ("type", request.get("type")),
            ("question", request.get("prompt")),
            ("assignee", request.get("assignee")),
            ("options", ", ".join(options)),
            ("default", request.get("default_option")),
            ("asked by", request.get("requested_by")),
            *((name, value if isinstance(value, str) else json.dumps(value)) for name, value in context.items()),
        ]
    )
    if text:
        show_heading("Text under review")
        show(text)
    show_heading("Answer with one of")
    for command in commands_for(request, continuation_id=continuation_id):
        show(f"  {command}")


def commands_for(request: Mapping[str, Any], *, continuation_id: str) -> list[str]:
    """The commands that answer a request, one for each decision it takes, and one for each option."""
    from kneo_serv.engine.answers import ALLOWED

    start = ["kneo", "human", "resume", continuation_id, "--request-id", str(request.get("id"))]
    commands = []
    for decision in ALLOWED[RequestType(request.get("type") or RequestType.APPROVAL)]:
        if decision is Decision.SELECTED:
            commands += [[*start, "--select", str(option)] for option in request.get("options") or ("OPTION",)]
        else:
            commands.append([*start, *_FLAGS[decision]])
    return [shlex.join(command) for command in commands]
