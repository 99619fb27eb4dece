"""What `kneo` tells the shell."""

from enum import IntEnum

from kneo_serv.model.run import RunStatus


class ExitCode(IntEnum):
    """The meaning of each exit code."""

    OK = 0
    FAILURE = 1
    USAGE = 2
    RUN_FAILED = 3
    RUN_CANCELLED = 4
    RUN_TIMED_OUT = 5
    RUN_EXPIRED = 6
    INTERRUPTED = 130


MEANINGS: dict[ExitCode, str] = {
    ExitCode.OK: "done; or the run waits for a person or is still going on",
    ExitCode.FAILURE: "the command could not do it; the message says why",
    ExitCode.USAGE: "the command line is wrong",
    ExitCode.RUN_FAILED: "the run failed",
    ExitCode.RUN_CANCELLED: "the run was cancelled",
    ExitCode.RUN_TIMED_OUT: "the run's deadline passed",
    ExitCode.RUN_EXPIRED: "a person did not answer in time",
    ExitCode.INTERRUPTED: "interrupted from the keyboard",
}
"""Every code with its meaning, in the order of `kneo --help`. 3 to 6 come from `run`, `resume` and `continue` only."""

_OF_STATUS = {
    RunStatus.FAILED: ExitCode.RUN_FAILED,
    RunStatus.CANCELLED: ExitCode.RUN_CANCELLED,
    RunStatus.TIMED_OUT: ExitCode.RUN_TIMED_OUT,
    RunStatus.EXPIRED: ExitCode.RUN_EXPIRED,
}


def exit_code_of(status: str) -> ExitCode:
    """The code for a run that was left in this status; `paused`, `running` and `completed` are no failure."""
    return next((code for bad, code in _OF_STATUS.items() if bad == status), ExitCode.OK)
