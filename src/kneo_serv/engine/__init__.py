"""Pure decisions: a plan and a run so far in, the next commands out."""

from kneo_serv.engine.answers import answer_text, refusal
from kneo_serv.engine.approvals import approval_digest, arguments_of
from kneo_serv.engine.begin import IdSource, begin
from kneo_serv.engine.commands import CallFunction, CallTool, CheckGuardrail, Command, Effect, RunAgentTurn, Wait
from kneo_serv.engine.decide import decide
from kneo_serv.engine.evolve import JournalFault, evolve
from kneo_serv.engine.failure import Failure, failed_step
from kneo_serv.engine.frames import find, in_flight, open_tasks, withdrawn
from kneo_serv.engine.guards import applied, is_checking, returned, under_review
from kneo_serv.engine.rest import Posture, posture
from kneo_serv.engine.verdict import Verdict

__all__ = [
    "CallFunction",
    "CallTool",
    "CheckGuardrail",
    "Command",
    "Effect",
    "Failure",
    "IdSource",
    "JournalFault",
    "Posture",
    "RunAgentTurn",
    "Verdict",
    "Wait",
    "answer_text",
    "applied",
    "approval_digest",
    "arguments_of",
    "begin",
    "decide",
    "evolve",
    "failed_step",
    "find",
    "in_flight",
    "is_checking",
    "open_tasks",
    "posture",
    "refusal",
    "returned",
    "under_review",
    "withdrawn",
]
