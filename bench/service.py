"""How the service does over HTTP: beside an empty route, lists beside the size of the store, and many clients at once.

    python -m bench.service [--quick]

Only ratios of figures of one session mean something: small and large stores are asked in turns, and the latency of
health beside that of a read of the same minute.
"""

import asyncio
import contextlib
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from bench.clients import Answers, Client, clients, timed
from kneo_serv.model.audit import AuditEvent
from kneo_serv.model.ids import AuditId, ContinuationId, PlanHash, RequestId, RunId, StepKey
from kneo_serv.model.plan import RequestType
from kneo_serv.model.run import Phase, RunRecord, RunStatus
from kneo_serv.model.task import HumanRequest, HumanTask
from kneo_serv.store.contract import Append, EventRow, NewRun, Projection
from kneo_serv.store.sqlite import SQLiteStore

FEW, MANY = 100, 10_000
MAX_RATIO = 2.0
"""How many times as long a list may take with the many."""
CLIENTS = 64
MAX_TAIL = 10.0
"""How many times the median the slowest hundredth may take."""
MAX_HEALTH = 3.0
"""How many times the median of a read the slowest hundredth of health checks may take."""
KEY = "bench-" + "k" * 32

_LISTENING = re.compile(r"Listening on http://127\.0\.0\.1:(\d+)")
_SPEC = {
    "version": "v1",
    "agent": {"name": "nobody"},
    "components": {"functions": {"pass_on": {"implementation": "bench.workload.pass_on", "effect": "idempotent"}}},
    "workflow": {
        "type": "sequential",
        "name": "three",
        "steps": [{"id": f"s{number}", "kind": "function", "ref": "pass_on"} for number in range(3)],
    },
}
_BODY = json.dumps({"input": "x" * 300, "spec_path": "three.yaml"}).encode()
_LISTS: Mapping[str, str] = {
    "runs, newest first": "/v1/runs?limit=50",
    "runs by status": "/v1/runs?limit=50&status=blocked",
    "runs of a workflow": "/v1/runs?limit=50&workflow_name=letters&sort_by=created_at",
    "light rows of runs": "/v1/runs?limit=50&fields=id,status,updated_at",
    "open tasks": "/v1/human-tasks?limit=50",
    "open tasks by deadline": "/v1/human-tasks?limit=50&status=pending&sort_by=expires_at&sort_order=asc",
    "audit": "/v1/audit-events?limit=50",
}


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a bound holds, in words."""

    holds: bool
    text: str


_EMPTY = """
import socket
import uvicorn
from fastapi import FastAPI

app = FastAPI()


@app.api_route("/empty", methods=["GET", "POST"])
async def empty():
    return {}


listener = socket.create_server(("127.0.0.1", 0), backlog=2048)
print(f"Listening on http://127.0.0.1:{listener.getsockname()[1]}", flush=True)
config = uvicorn.Config(app, loop="uvloop", http="httptools", access_log=False, log_level="warning")
uvicorn.Server(config).run(sockets=[listener])
"""


@contextlib.contextmanager
def serving(folder: Path) -> Iterator[int]:
    """A service in a process of its own over the state of the folder; its port."""
    with _listening(folder, "-m", "kneo_serv", "service", "serve", "--port", "0") as port:
        yield port


@contextlib.contextmanager
def _listening(folder: Path, *words: str) -> Iterator[int]:
    environment = {
        **os.environ,
        "KNEO_SERV_ADMIN_API_KEY": KEY,
        "KNEO_SERV_LOG_LEVEL": "warning",
        "PYTHONPATH": os.pathsep.join([str(Path.cwd()), *filter(None, [os.environ.get("PYTHONPATH")])]),
    }
    process = subprocess.Popen([sys.executable, *words], cwd=folder, env=environment, stdout=subprocess.PIPE, text=True)
    try:
        found = _LISTENING.search(process.stdout.readline()) if process.stdout else None
        if found is None:
            raise RuntimeError("the service does not listen")
        yield int(found[1])
    finally:
        process.terminate()
        process.wait(60)


async def fill(path: Path, runs: int) -> None:
    """A store with so many runs that wait for a person each."""
    path.parent.mkdir(parents=True, exist_ok=True)
    store = SQLiteStore(path)
    await store.open()
    start = time.time() - runs
    for first in range(0, runs, 500):
        await asyncio.gather(
            *(_waiting(store, number, start + number) for number in range(first, min(first + 500, runs)))
        )
    await store.close()


async def _waiting(store: SQLiteStore, number: int, at: float) -> None:
    run_id = RunId(f"run_2026-05-10T12:34:56_{number:022d}")
    audit = AuditEvent(AuditId(f"aud_{number}"), "run.created", at, run_id, None, "bench", {"target": "workflow"})
    record = RunRecord(
        id=run_id,
        status=RunStatus.RUNNING,
        phase=Phase.RUNNABLE,
        seq=1,
        plan_hash=PlanHash("plan"),
        target="workflow",
        input_text="Please look at this letter. " * 10,
        created_at=at,
        updated_at=at,
        workflow_name="letters" if number % 2 else "invoices",
        workflow_kind="sequential",
    )
    await store.create(NewRun(record, "{}", (EventRow(1, "run_created", at, '{"target":"workflow"}'),), audit=(audit,)))
    request = HumanRequest(RequestId(f"req_{number}"), RequestType.APPROVAL, "Release?", "May it go out?", "review")
    task = HumanTask(
        continuation_id=ContinuationId(f"cont_{number:010d}"),
        run_id=run_id,
        key=StepKey("main/review#1"),
        step_id="review",
        step_index=0,
        workflow_name="letters",
        workflow_kind="sequential",
        request=request,
        input_text="Please look at this letter.",
        created_at=at,
        expires_at=at + 10_000_000,
    )
    blocked = Projection(RunStatus.BLOCKED, Phase.WAITING_HUMAN, at + 1, continuation_id=task.continuation_id)
    await store.append(Append(run_id, 1, (EventRow(2, "human_asked", at + 1, "{}"),), blocked, opened=(task,)))


def lists(folder: Path, *, rounds: int) -> list[Verdict]:
    """Prints how long each list takes with few and with many rows in the store."""
    for runs in (FEW, MANY):
        asyncio.run(fill(folder / str(runs) / ".kneo" / "kneo_runs.sqlite", runs))
    with serving(folder / str(FEW)) as few, serving(folder / str(MANY)) as many:
        return asyncio.run(_lists(few, many, rounds))


async def _lists(few: int, many: int, rounds: int) -> list[Verdict]:
    print(f"Lists of 50 with {FEW:,} and with {MANY:,} runs and open tasks in the store: milliseconds (median)")
    verdicts = []
    async with Client("127.0.0.1", few) as small, Client("127.0.0.1", many) as large:
        for name, path in _LISTS.items():
            found: tuple[list[float], list[float]] = ([], [])
            for _ in range(rounds):
                for client, times in zip((small, large), found, strict=True):
                    answers = Answers()
                    await timed(client, client.request("GET", path, X_Kneo_Api_Key=KEY), answers)
                    if answers.errors:
                        raise RuntimeError(f"{path} is answered with {answers.statuses}")
                    times.append(answers.seconds[0])
            one, other = (statistics.median(times[rounds // 10 :]) for times in found)
            print(f"{name:26s}{one * 1000:9.2f}{other * 1000:9.2f}   {other / one:4.2f}")
            verdicts.append(
                Verdict(other <= one * MAX_RATIO, f"{name}: {other / one:.2f} times (at most {MAX_RATIO:g})")
            )
    return verdicts


def doors(folder: Path, *, rounds: int, seconds: float) -> None:
    """Prints requests a second of runs of three steps and of looks at a run, beside those of an empty route."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "three.yaml").write_text(json.dumps(_SPEC))
    with serving(folder) as port, _listening(folder, "-c", _EMPTY) as empty:
        asyncio.run(_doors(port, empty, rounds, seconds))


async def _doors(port: int, empty: int, rounds: int, seconds: float) -> None:
    async with Client("127.0.0.1", port) as client:
        _, body = await client.send(client.request("POST", "/v1/runs", _BODY, X_Kneo_Api_Key=KEY))
    path = f"/v1/runs/{json.loads(body)['run_id']}"
    asked: dict[str, tuple[str, str, bytes]] = {
        "start a run": ("POST", "/v1/runs", _BODY),
        "look at a run": ("GET", path, b""),
    }
    print("Requests a second (medians), an empty route in turns with them, the share, and milliseconds (p50, p99)")
    for name, (method, place, content) in asked.items():
        for number in (1, 32):
            found: tuple[list[float], list[float]] = ([], [])
            quantiles: list[tuple[float, float]] = []
            for _ in range(rounds):
                for at, where, times in ((empty, "/empty", found[0]), (port, place, found[1])):
                    act = partial(_ask, method, where, content)
                    answers = await clients(number, "127.0.0.1", at, seconds=seconds, act=act)
                    if answers.errors:
                        raise RuntimeError(f"{where} is answered with {answers.statuses}")
                    times.append(len(answers.seconds) / seconds)
                    if where == place:
                        quantiles.append((answers.quantile(0.5) * 1000, answers.quantile(0.99) * 1000))
            bound, ours = (statistics.median(times) for times in found)
            middle, tail = (statistics.median(one) for one in zip(*quantiles, strict=True))
            print(f"{name:14s}{number:3d} clients{ours:9,.0f}{bound:9,.0f}{ours / bound:6.0%}{middle:9.2f}{tail:9.2f}")


async def _ask(method: str, path: str, body: bytes, client: Client, answers: Answers) -> None:
    await timed(client, client.request(method, path, body, X_Kneo_Api_Key=KEY), answers)


def load(folder: Path, *, seconds: float) -> list[Verdict]:
    """Prints what so many clients met with who start runs, look at them and list them, and a prober of health."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "three.yaml").write_text(json.dumps(_SPEC))
    with serving(folder) as port:
        return asyncio.run(_load(port, seconds))


async def _load(port: int, seconds: float) -> list[Verdict]:
    kinds = {name: Answers() for name in ("start a run", "look at a run", "list runs", "health")}
    start, look, listed, health = kinds.values()

    async def act(client: Client, _: Answers) -> None:
        body = await timed(client, client.request("POST", "/v1/runs", _BODY, X_Kneo_Api_Key=KEY), start)
        name = json.loads(body)["run_id"]
        for _number in range(4):
            await timed(client, client.request("GET", f"/v1/runs/{name}", X_Kneo_Api_Key=KEY), look)
        await timed(client, client.request("GET", "/v1/runs?limit=20", X_Kneo_Api_Key=KEY), listed)

    async def probe(client: Client, _: Answers) -> None:
        await timed(client, client.request("GET", "/livez"), health)
        await asyncio.sleep(0.02)

    await clients(1, "127.0.0.1", port, seconds=1, act=act)
    for answers in kinds.values():
        answers.seconds.clear()
        answers.statuses.clear()
    await asyncio.gather(
        clients(CLIENTS, "127.0.0.1", port, seconds=seconds, act=act),
        clients(1, "127.0.0.1", port, seconds=seconds, act=probe),
    )
    print(f"{CLIENTS} clients for {seconds:g} s: requests, milliseconds (p50, p99), and their ratio")
    verdicts = []
    for name, answers in kinds.items():
        middle, tail = answers.quantile(0.5), answers.quantile(0.99)
        print(f"{name:16s}{len(answers.seconds):9,d}{middle * 1000:9.2f}{tail * 1000:9.2f}   {tail / middle:4.1f}")
        verdicts.append(Verdict(not answers.errors, f"{name}: {answers.errors} errors"))
        if answers is not health:
            verdicts.append(
                Verdict(
                    tail <= middle * MAX_TAIL, f"{name}: p99 is {tail / middle:.1f} times p50 (at most {MAX_TAIL:g})"
                )
            )
    ratio = health.quantile(0.99) / look.quantile(0.5)
    verdicts.append(
        Verdict(ratio <= MAX_HEALTH, f"health: p99 is {ratio:.1f} times the p50 of a look (at most {MAX_HEALTH:g})")
    )
    return verdicts


def report(folder: Path, *, quick: bool) -> bool:
    """Prints all of it, and whether the bounds hold; whether all do."""
    doors(folder / "doors", rounds=1 if quick else 5, seconds=2 if quick else 4)
    print()
    verdicts: Sequence[Verdict] = lists(folder / "lists", rounds=20 if quick else 60)
    print()
    verdicts = [*verdicts, *load(folder / "load", seconds=5 if quick else 60)]
    for verdict in verdicts:
        print(f"{'PASS' if verdict.holds else 'FAIL'}  {verdict.text}")
    return all(verdict.holds for verdict in verdicts)


def main() -> None:
    with tempfile.TemporaryDirectory(dir=".") as folder:
        sys.exit(0 if report(Path(folder), quick="--quick" in sys.argv[1:]) else 1)


if __name__ == "__main__":
    main()
