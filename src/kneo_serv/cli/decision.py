"""A person's decision, as options of a command line give it."""

from typing import Annotated

import typer

from kneo_serv.model.task import Decision, HumanResponse

Approve = Annotated[bool, typer.Option("--approve", help="Yes: the text goes on as it is.")]
Reject = Annotated[bool, typer.Option("--reject", help="No.")]
Edit = Annotated[str | None, typer.Option("--edit", metavar="TEXT", help="Put this text in its place.")]
Provide = Annotated[str | None, typer.Option("--provide", metavar="TEXT", help="Answer with this text.")]
Select = Annotated[str | None, typer.Option("--select", metavar="OPTION", help="Choose this option.")]
Comment = Annotated[
    str | None, typer.Option("--comment", metavar="TEXT", help="Say something with --approve or --reject.")
]

_FLAGS = ["--approve", "--reject", "--edit", "--provide", "--select"]


def decided(
    request_id: str,
    *,
    approve: bool,
    reject: bool,
    edit: str | None,
    provide: str | None,
    select: str | None,
    comment: str | None,
) -> HumanResponse | None:
    """The answer that the options make together; None when no decision is among them.

    Raises:
        BadParameter: there are several, or a comment goes with none that takes it.
    """
    answers = {
        Decision.APPROVED: True if approve else None,
        Decision.REJECTED: True if reject else None,
        Decision.EDITED: edit,
        Decision.PROVIDED: provide,
        Decision.SELECTED: select,
    }
    given = [decision for decision, value in answers.items() if value is not None]
    if len(given) > 1:
        raise typer.BadParameter("Give exactly one of them.", param_hint=_FLAGS)
    if comment is not None and given not in ([Decision.APPROVED], [Decision.REJECTED]):
        raise typer.BadParameter("It goes with --approve and --reject only.", param_hint="--comment")
    if not given:
        return None
    return HumanResponse(
        request_id=request_id,
        decision=given[0],
        content=next((text for text in (edit, provide, comment) if text is not None), None),
        selected_option=select,
    )


def needed(response: HumanResponse | None) -> HumanResponse:
    """The answer. Raises BadParameter when there is none."""
    if response is None:
        raise typer.BadParameter("Give exactly one of them.", param_hint=_FLAGS)
    return response
