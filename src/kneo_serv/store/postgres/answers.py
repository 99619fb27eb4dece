"""What the function in the database says of a batch, as results for those who asked."""

from collections.abc import Sequence
from typing import Any

from kneo_serv.errors import SessionBusyError, StoreError
from kneo_serv.model.idempotency import KeyRecord
from kneo_serv.model.run import RunStatus
from kneo_serv.store.contract import Appended, Claim, KeyTaken, Refusal, Refused
from kneo_serv.store.jsontext import loads
from kneo_serv.store.postgres.requests import Addition, Creation, NamedClaim, Request
from kneo_serv.store.postgres.rows import key_record


def results(requests: Sequence[Request], text: str) -> list[Any]:
    """A result for each request of the batch, or the error that its caller gets."""
    verdicts, claims, taken = loads(text)
    told = {run_id: rest for run_id, *rest in verdicts}
    given = {run_id: rest for run_id, *rest in claims}
    keys = {run_id: key_record(row) for run_id, row in taken.items()}
    found: list[Any] = []
    for request in requests:
        match request:
            case Creation():
                verdict, born = told[request.run_id]
                found.append(_created(request, verdict, born, keys.get(request.run_id)))
            case Addition():
                verdict, seq, status = told[request.run_id]
                found.append(_appended(request, verdict, seq, status, keys.get(request.run_id)))
            case NamedClaim():
                lease = given.get(request.run_id)
                found.append([] if lease is None else [Claim(request.run_id, *lease)])
            case _:
                found.append(StoreError(f"There is no writing of the kind {type(request).__name__}."))
    return found


def _created(request: Creation, verdict: str | None, born: bool | None, taken: KeyRecord | None) -> bool | Exception:
    match verdict:
        case None:
            return request.leased
        case "waits":
            return False
        case "done":
            return bool(born)
        case "key" if taken is not None:
            return KeyTaken(taken)
        case "busy":
            return SessionBusyError(request.session_id or "")
        case _:
            return StoreError(f"There is a run {request.run_id} already. Make a new id for a new run.")


def _appended(
    request: Addition, verdict: str | None, seq: int | None, status: str | None, taken: KeyRecord | None
) -> Appended | Refused:
    if verdict in (None, "done"):
        return Appended(request.seq)
    reason = Refusal(verdict)
    return Refused(
        reason,
        seq or 0,
        None if status is None else RunStatus(status),
        taken if reason is Refusal.KEY else None,
    )
