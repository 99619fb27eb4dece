"""How much one output may hold."""

from kneo_serv.errors import ToolError
from kneo_serv.model.plan import Plan


class OutputTooLargeError(ToolError):
    """A step or a tool gave back more than a run may hold."""

    code = "output_too_large"

    def __init__(self, size: int, limit: int) -> None:
        super().__init__(f"The output has {size} bytes; at most {limit} are kept.")
        self.size = size
        self.limit = limit


def check_size(plan: Plan, text: str) -> None:
    """Returns when the plan's runs may hold this text. Raises OutputTooLargeError."""
    limit = plan.limits.max_output_bytes
    # A character takes at most four bytes, so that most texts need no encoding to be seen as small.
    if len(text) * 4 > limit and len(text.encode()) > limit:
        raise OutputTooLargeError(len(text.encode()), limit)
