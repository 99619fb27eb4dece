"""What is sent again with its idempotency key is done once."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from kneo_serv.errors import (
    IdempotencyKeyConflictError,
    NotFoundError,
    QueueFullError,
    RequestIdMismatchError,
    RunStateConflictError,
)
from kneo_serv.model.idempotency import IdempotencyKey
from kneo_serv.model.page import AuditFilter, RunFilter
from kneo_serv.model.task import HumanResponse
from kneo_serv.platform.platform import Submission
from kneo_serv.platform.retention import RetentionPolicy
from tests.platform.functions import FAILURES, calls
from tests.platform.worlds import PATIENCE, kinds, manager, opened, person, plan, run, step, task_of

CREATE = IdempotencyKey("runs:create", "anna", "k1", "body")
RESUME = IdempotencyKey("human:resume", "anna", "k1", "body")
CONTINUE = IdempotencyKey("runs:continue", "anna", "k1", "body")


def test_a_run_that_is_asked_for_twice_with_one_key_is_made_once(tmp_path: Path) -> None:
    async def story() -> None:
        async with opened(tmp_path) as platform:
            submission = Submission(plan(step("upper")), "tea")
            first = await platform.start(submission, hold=True, key=CREATE)
            again = await platform.start(submission, hold=True, key=CREATE)
            done = await platform.run_to_rest(first.id, patience=PATIENCE)
            late = await platform.start(submission, hold=True, key=CREATE)
            assert {first.id, again.id, late.id} == {done.id}
            assert (late.status, calls("upper", done.id)) == ("completed", 1)
            assert await platform.store.count_runs(RunFilter()) == 1
            assert await platform.store.count_audit(AuditFilter("run.created")) == 1

    asyncio.run(story())


def test_of_many_at_once_with_one_key_one_run_is_made(tmp_path: Path) -> None:
    async def story() -> None:
        async with opened(tmp_path) as platform:
            submission = Submission(plan(step("upper")), "tea")
            made = await asyncio.gather(*(platform.start(submission, hold=True, key=CREATE) for _ in range(20)))
            assert len({record.id for record in made}) == 1
            done = await platform.run_to_rest(made[0].id, patience=PATIENCE)
            assert (done.status, calls("upper", done.id)) == ("completed", 1)

    asyncio.run(story())


def test_a_key_of_another_request_is_refused(tmp_path: Path) -> None:
    async def story() -> None:
        async with opened(tmp_path) as platform:
            submission = Submission(plan(step("upper")), "tea")
            await platform.start(submission, key=CREATE)
            with pytest.raises(IdempotencyKeyConflictError) as refused:
                await platform.start(submission, key=replace(CREATE, body_hash="another"))
            assert (refused.value.code, refused.value.facts()) == (
                "idempotency_key_conflict",
                {"scope": "runs:create"},
            )
            for other in (replace(CREATE, principal="bert"), replace(CREATE, scope="specs:run")):
                await platform.start(submission, key=other)
            assert await platform.store.count_runs(RunFilter()) == 3

    asyncio.run(story())


def test_a_repetition_is_known_even_where_nothing_new_is_taken_in(tmp_path: Path) -> None:
    async def story() -> None:
        async with opened(tmp_path, max_queue_depth=1) as platform:
            submission = Submission(plan(step("upper")), "tea")
            first = await platform.start(submission, key=CREATE)
            assert (await platform.start(submission, key=CREATE)).id == first.id
            other = replace(CREATE, key="k2")
            with pytest.raises(QueueFullError):
                await platform.start(submission, key=other)
            # What was refused stands for nothing.
            assert await platform.store.get_key(other.scope, other.principal, other.key) is None

    asyncio.run(story())


def test_an_answer_that_is_given_twice_with_one_key_counts_once(tmp_path: Path) -> None:
    async def story() -> None:
        async with opened(tmp_path) as platform:
            record = await run(platform, plan(person(), step("exclaim")))
            task = await task_of(platform, record.id)
            given = HumanResponse(task.request.id, "approved")
            name = task.continuation_id
            with pytest.raises(RequestIdMismatchError):
                await platform.answer(name, HumanResponse("req_other", "approved"), key=RESUME)
            assert (
                await asyncio.gather(*(platform.answer(name, given, key=RESUME) for _ in range(8))) == [record.id] * 8
            )
            record = await platform.run_to_rest(record.id, patience=PATIENCE)
            assert record.status == "completed"
            assert await platform.answer(name, given, key=RESUME) == record.id
            assert (await kinds(platform, record.id)).count("human_answered") == 1
            assert calls("exclaim", record.id) == 1
            with pytest.raises(IdempotencyKeyConflictError):
                await platform.answer(name, given, key=replace(RESUME, body_hash="another"))
            with pytest.raises(NotFoundError):
                await platform.answer(name, given, key=replace(RESUME, key="k2"))
            bound = await platform.store.get_key("human:resume", "anna", "k1")
            assert bound is not None
            assert (bound.run_id, bound.continuation_id) == (record.id, name)

    asyncio.run(story())


def test_a_run_is_continued_once_for_each_key(tmp_path: Path) -> None:
    async def story() -> None:
        async with opened(tmp_path) as platform:
            submission = Submission(plan(step("moody")), "continued by key")
            record = await platform.start(submission)
            FAILURES["continued by key"] = 2
            assert (await platform.run_to_rest(record.id, patience=PATIENCE)).status == "failed"
            await asyncio.gather(*(platform.continue_run(record.id, key=CONTINUE) for _ in range(5)))
            assert (await platform.run_to_rest(record.id, patience=PATIENCE)).status == "failed"
            # Sent again, it is the continuation of then, although another one would be possible now.
            await platform.continue_run(record.id, key=CONTINUE)
            assert (await kinds(platform, record.id)).count("run_continued") == 1
            await platform.continue_run(record.id, key=replace(CONTINUE, key="k2"))
            assert (await platform.run_to_rest(record.id, patience=PATIENCE)).status == "completed"
            await platform.continue_run(record.id, key=CONTINUE)
            with pytest.raises(RunStateConflictError):
                await platform.continue_run(record.id, key=replace(CONTINUE, key="k3"))

    asyncio.run(story())


def test_keys_are_forgotten_when_they_are_old(tmp_path: Path) -> None:
    async def story() -> None:
        async with opened(tmp_path) as platform:
            await platform.start(Submission(plan(step("upper")), "tea"), key=CREATE)

    asyncio.run(story())
    platform = manager(tmp_path)
    try:
        assert platform.prune_retention(RetentionPolicy(idempotency_days=1)).idempotency_records == 0
        assert platform.prune_retention(RetentionPolicy(idempotency_days=0)).idempotency_records == 1
    finally:
        platform.shutdown()
