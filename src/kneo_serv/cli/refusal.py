"""What can go wrong with a service, in the form that all errors of the command line have."""

from collections.abc import Mapping
from typing import Any

from kneo_serv.errors import KneoError


class ServiceFault(KneoError):
    """A service did not do what was asked for; `hint` says what may help."""

    def __init__(self, code: str, message: str, *, hint: str | None = None, facts: Mapping[str, Any] | None = None):
        super().__init__(message)
        self._code = code
        self._hint = hint
        self._facts = dict(facts or {})

    @property
    def wire_code(self) -> str:
        """The stable word for what went wrong, mostly the service's own."""
        return self._code

    @property
    def hint(self) -> str | None:
        """What may help."""
        return self._hint

    def facts(self) -> dict[str, Any]:
        """The keys beside code and message."""
        return dict(self._facts)


class ServiceRefusal(ServiceFault):
    """The service refuses; code, message and facts are its own."""


class ServiceUnreachable(ServiceFault):
    """No service answered, or what answered is none."""


class NotOffered(ServiceFault):
    """Services cannot do this."""

    def __init__(self, what: str, command: str) -> None:
        super().__init__(
            "not_offered",
            f"A service cannot {what}.",
            hint=f"On the machine with its state, `{command} --local` does it.",
        )


def code_of(error: KneoError) -> str:
    """The stable word for what went wrong, here or at a service."""
    return error.wire_code if isinstance(error, ServiceFault) else error.code


class Interrupted(KeyboardInterrupt):
    """Somebody stopped waiting; `message` says what goes on all the same."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message
