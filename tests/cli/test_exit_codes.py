import pytest

from kneo_serv.cli.exit_codes import MEANINGS, ExitCode, exit_code_of
from kneo_serv.model.run import PAUSED, RunStatus


def test_every_code_has_a_meaning() -> None:
    assert list(MEANINGS) == list(ExitCode)


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (RunStatus.COMPLETED, 0),
        (PAUSED, 0),
        (RunStatus.RUNNING, 0),
        (RunStatus.FAILED, 3),
        (RunStatus.CANCELLED, 4),
        (RunStatus.TIMED_OUT, 5),
        (RunStatus.EXPIRED, 6),
    ],
)
def test_the_end_of_a_run_shows_in_the_exit_code(status: str, code: int) -> None:
    assert exit_code_of(str(status)) == code
