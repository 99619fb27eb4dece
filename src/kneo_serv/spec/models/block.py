"""What all blocks of a spec share."""

from pathlib import PurePosixPath, PureWindowsPath
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict
from pydantic_core import PydanticCustomError


class Block(BaseModel):
    """A closed mapping: unknown keys are refused."""

    # Values may be secrets that somebody put in the wrong place, so errors never repeat them.
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True, populate_by_name=False)


def _confined(value: str) -> str:
    parts = {*PurePosixPath(value).parts, *PureWindowsPath(value).parts}
    if ".." in parts or value.startswith("~"):
        raise PydanticCustomError("kneo_path", "a path must not begin with `~` nor hold `..`")
    return value


type ConfinedPath = Annotated[str, AfterValidator(_confined)]
"""A path that cannot climb out of its folder by its text alone."""


def _rule(value: Any) -> Any:
    if isinstance(value, bool):
        # YAML reads `yes` and `no` as these, and people mean them.
        word = "always" if value else "never"
        raise PydanticCustomError("kneo_approval", f"true and false are no rules of approval; write `{word}`")
    return value


type ApprovalRule = Annotated[str, BeforeValidator(_rule)]
"""`never`, `always`, or an expression in CEL over `tool` and `arguments`; what it holds is judged by the checks."""
