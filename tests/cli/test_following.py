import sys

import pytest

from kneo_serv.cli.following import following
from kneo_serv.model.event import Recorded
from tests.cli.test_progress import DONE, STARTED


def test_where_nobody_watches_plain_lines_are_written(capsys: pytest.CaptureFixture[str]) -> None:
    with following(silent=False) as listener:
        listener.on_event(Recorded(1, 0.0, STARTED))
        listener.on_event(Recorded(2, 0.0, DONE))
    assert capsys.readouterr() == ("", "✓ [draft]\n")


@pytest.mark.parametrize("silent", [True, False])
def test_what_functions_print_never_reaches_the_answer(silent: bool, capsys: pytest.CaptureFixture[str]) -> None:
    with following(silent=silent) as listener:
        listener.on_event(Recorded(1, 0.0, STARTED))
        sys.stdout.write("hello from a function\n")
    assert capsys.readouterr() == ("", "hello from a function\n")
