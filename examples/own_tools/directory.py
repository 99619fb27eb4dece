"""A tool of one's own: `register` is what `--tools examples.own_tools.directory:register` calls."""

from typing import Any

from kneo_serv.tools import ToolDefinition, ToolRegistry

USERS = {"u-001": "alice@example.com", "u-002": "bob@example.com", "u-003": "carol@example.com"}


def lookup_user(args: dict[str, Any]) -> str:
    """The e-mail address of a user."""
    return USERS.get(args["user_id"], f"There is no user {args['user_id']}.")


def register(registry: ToolRegistry) -> None:
    """Adds the tool to a platform."""
    definition = ToolDefinition(
        name="lookup_user",
        description="Return the email for a user id.",
        parameters={"type": "object", "properties": {"user_id": {"type": "string"}}, "required": ["user_id"]},
    )
    registry.register(definition, lookup_user)
