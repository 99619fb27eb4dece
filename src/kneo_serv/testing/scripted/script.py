"""Scripts: what a scripted provider says, in which order, how slowly, and with which faults."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from kneo_serv.errors import InvalidRequestError
from kneo_serv.model.message import Usage
from kneo_serv.spec.path import did_you_mean
from kneo_serv.spec.reader import read_file

ANYBODY = "*"
"""In the place of an agent's name: every agent that has no turns of its own."""


class Fault(StrEnum):
    """How a turn fails."""

    TRANSIENT = "transient"
    """As a provider that is busy: tried again a few times, as with a real one."""
    PERMANENT = "permanent"
    """As a provider that refuses the request."""
    TIMEOUT = "timeout"
    """As a provider that did not answer in time."""
    SILENCE = "silence"
    """No answer at all: somebody else's time limit, or a cancellation, has to end it."""


class Per(StrEnum):
    """What goes through the turns of an agent once."""

    SCRIPT = "script"
    """All questions together, in the order in which they come."""
    CONVERSATION = "conversation"
    """Each conversation for itself, by the number of answers that it holds. So any number of runs may go through the
    same script at once, and a run that a killed process left goes on where it stood."""


@dataclass(frozen=True, slots=True)
class ScriptedCall:
    """A wish to call a tool. Arguments given as text are no JSON object: the model got them wrong."""

    tool: str
    arguments: Mapping[str, Any] | str = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ScriptedTurn:
    """One answer of a model, or one fault. Made with `say`, `call` and `fail`, or by hand."""

    text: str = ""
    calls: tuple[ScriptedCall, ...] = ()
    fault: Fault | None = None
    message: str = ""
    """Of the fault."""
    delay_seconds: float = 0.0
    """Waited before anything is said."""
    pieces: tuple[str, ...] = ()
    """How the text is streamed to somebody who listens; word by word where it is empty."""
    when: str | None = None
    """Only for a question (or an answer of a tool to it) that holds this text, in any case."""
    times: int | None = 1
    """How often it is said; None means always."""
    usage: Usage = Usage(requests=1)

    def __post_init__(self) -> None:
        if self.pieces and "".join(self.pieces) != self.text:
            raise InvalidRequestError(f"The pieces {list(self.pieces)} do not make up the text {self.text!r}.")
        if self.fault is not None and (self.text or self.calls):
            raise InvalidRequestError("A turn with a fault says nothing: take `text` and `calls` away.")
        if self.delay_seconds < 0 or (self.times is not None and self.times < 1):
            raise InvalidRequestError("`delay_seconds` must not be below 0, and `times` not below 1.")


def say(text: str, **more: Any) -> ScriptedTurn:
    """The model says this; `more` are fields of `ScriptedTurn`."""
    return ScriptedTurn(text=text, **more)


def call(tool: str, arguments: Mapping[str, Any] | str | None = None, **more: Any) -> ScriptedTurn:
    """The model wants one tool called; `more` are fields of `ScriptedTurn`."""
    return ScriptedTurn(calls=(ScriptedCall(tool, {} if arguments is None else arguments),), **more)


def fail(fault: Fault | str = Fault.TRANSIENT, message: str = "", **more: Any) -> ScriptedTurn:
    """The provider fails; `more` are fields of `ScriptedTurn`."""
    return ScriptedTurn(fault=Fault(fault), message=message, **more)


@dataclass(frozen=True, slots=True)
class Script:
    """The turns of each agent, by its name; those of `ANYBODY` are for every other one."""

    agents: Mapping[str, tuple[ScriptedTurn, ...]]
    per: Per = Per.SCRIPT

    def of(self, agent: str) -> tuple[str, tuple[ScriptedTurn, ...]] | None:
        """The name under which an agent's turns stand, and the turns; None when it has none."""
        name = agent if agent in self.agents else ANYBODY
        turns = self.agents.get(name)
        return None if turns is None else (name, turns)


type ScriptSource = Script | str | Path | Mapping[str, Any] | Sequence[ScriptedTurn | str]
"""A script; a YAML or JSON file; the same as plain data; or turns (a text is one) for whichever agent asks."""


def as_script(source: ScriptSource) -> Script:
    """The script that is meant.

    Raises:
        InvalidRequestError: something in it is not understood; the text names the place and the mend.
        SpecParseError, FileNotFoundError: the file cannot be read.
    """
    match source:
        case Script():
            return source
        case str() | Path():
            return _script(read_file(source).data(), str(source))
        case Mapping():
            return _script(source, "script")
        case _:
            return _script({"agents": {ANYBODY: source}}, "script")


def _script(data: Mapping[str, Any], name: str) -> Script:
    fields = _fields(data, ("agents", "per"), name)
    agents = fields.get("agents")
    if not isinstance(agents, Mapping):
        raise InvalidRequestError(f"{name}: `agents` must map names of agents to lists of turns.")
    found: dict[str, tuple[ScriptedTurn, ...]] = {}
    for agent, turns in agents.items():
        place = f"{name}: agents.{agent}"
        if not isinstance(turns, list | tuple):
            raise InvalidRequestError(f"{place} must be a list of turns.")
        found[str(agent)] = tuple(
            turn if isinstance(turn, ScriptedTurn) else _turn(turn, f"{place}[{number}]")
            for number, turn in enumerate(turns)
        )
    return Script(found, _word(Per, fields.get("per", Per.SCRIPT), f"{name}: per"))


def _turn(data: Any, place: str) -> ScriptedTurn:
    if isinstance(data, str):
        return ScriptedTurn(text=data)
    known = ("text", "calls", "fault", "message", "delay_seconds", "pieces", "when", "times", "usage")
    fields = _fields(data, known, place)
    times = fields.get("times", 1)
    try:
        return ScriptedTurn(
            text=_value(fields, "text", str, "", place),
            calls=tuple(
                _call(item, f"{place}.calls[{number}]")
                for number, item in enumerate(_value(fields, "calls", list, [], place))
            ),
            fault=_word(Fault, fields["fault"], f"{place}.fault") if fields.get("fault") is not None else None,
            message=_value(fields, "message", str, "", place),
            delay_seconds=float(_value(fields, "delay_seconds", (int, float), 0.0, place)),
            pieces=tuple(str(piece) for piece in _value(fields, "pieces", list, [], place)),
            when=_value(fields, "when", str, None, place),
            times=None if times == "always" else _value(fields, "times", int, 1, place),
            usage=_usage(fields.get("usage"), f"{place}.usage"),
        )
    except InvalidRequestError as error:
        raise error if str(error).startswith(place) else InvalidRequestError(f"{place}: {error}") from None


def _call(data: Any, place: str) -> ScriptedCall:
    fields = _fields(data, ("tool", "arguments"), place)
    if "tool" not in fields:
        raise InvalidRequestError(f"{place}: `tool` is missing.")
    return ScriptedCall(_value(fields, "tool", str, "", place), _value(fields, "arguments", (Mapping, str), {}, place))


def _usage(data: Any, place: str) -> Usage:
    fields = _fields(data or {}, ("input_tokens", "output_tokens", "cached_tokens", "cost_usd"), place)
    return Usage(
        input_tokens=_value(fields, "input_tokens", int, 0, place),
        output_tokens=_value(fields, "output_tokens", int, 0, place),
        cached_tokens=_value(fields, "cached_tokens", int, 0, place),
        cost_usd=float(_value(fields, "cost_usd", (int, float), 0.0, place)),
        requests=1,
    )


def _fields(data: Any, known: Sequence[str], place: str) -> Mapping[str, Any]:
    if not isinstance(data, Mapping):
        raise InvalidRequestError(f"{place} must be a mapping of {', '.join(known)}; this is a {type(data).__name__}.")
    for key in data:
        if key not in known:
            raise InvalidRequestError(f"{place}: the key `{key}` is not known. {did_you_mean(str(key), known)}")
    return data


def _value(fields: Mapping[str, Any], key: str, kind: Any, default: Any, place: str) -> Any:
    value = fields.get(key)
    if value is None:
        return default
    if not isinstance(value, kind) or isinstance(value, bool):
        raise InvalidRequestError(f"{place}.{key}: {value!r} cannot be used.")
    return value


def _word[Word: StrEnum](words: type[Word], value: Any, place: str) -> Word:
    try:
        return words(value)
    except ValueError:
        raise InvalidRequestError(f"{place}: {value!r} is none of {', '.join(words)}.") from None
