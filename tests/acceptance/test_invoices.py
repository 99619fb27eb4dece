"""The invoice example does its work: a file goes in, a person decides, and two lists come out."""

import csv
from pathlib import Path

import pytest

from tests.acceptance.shell import Paused, Shell

SPEC = "examples/invoice_approval.yaml"
FILE = "examples/data/invoices.csv"


def decide(shell: Shell, *decision: str) -> tuple[str, list[str], list[str]]:
    """The answer of the run, the invoices that are paid, and the lines that are rejected."""
    task = shell.pause(SPEC, FILE)
    answer = shell.resume(task, *decision).json["output_text"]
    return (
        answer,
        column(written(shell, task, "payments.csv"), "invoice"),
        column(written(shell, task, "rejections.csv"), "line"),
    )


def written(shell: Shell, task: Paused, name: str) -> Path:
    return shell.folder / "demo-output" / task.run_id.replace(":", "-") / name


def column(path: Path, name: str) -> list[str]:
    with path.open(encoding="utf-8", newline="") as file:
        return [row[name] for row in csv.DictReader(file)]


def test_the_person_reads_the_large_invoices_and_what_is_wrong(shell: Shell) -> None:
    task = shell.pause(SPEC, FILE)
    shown = shell.kneo("human", "get", task.continuation_id).out
    assert "Pay the invoices over 10,000.00 EUR?" in shown
    assert "pay INV-1004 (Nordlicht Logistik AG, 18,450.00 EUR, due 2026-12-15" in shown
    assert "line 4: 7 columns instead of 6" in shown
    assert not (shell.folder / "demo-output").exists()


@pytest.mark.parametrize(
    ("decision", "large", "lines"),
    [
        (("--approve",), {"INV-1004", "INV-1010"}, ["4", "8", "10"]),
        (("--reject",), set(), ["4", "5", "8", "10", "12"]),
        (("--edit", "pay INV-1010"), {"INV-1010"}, ["4", "5", "8", "10"]),
    ],
)
def test_every_row_is_paid_or_rejected_as_the_person_decides(
    shell: Shell, decision: tuple[str, ...], large: set[str], lines: list[str]
) -> None:
    answer, paid, rejected = decide(shell, *decision)
    assert answer.startswith("12 rows in: ")
    assert set(paid) & {"INV-1004", "INV-1010"} == large
    assert rejected == lines
    assert len(paid) + len(rejected) == 12


def test_the_reviewers_comment_stands_beside_the_invoices_that_were_rejected(shell: Shell) -> None:
    task = shell.pause(SPEC, FILE)
    shell.resume(task, "--reject", "--comment", "wait for the goods")
    reasons = column(written(shell, task, "rejections.csv"), "reason")
    assert reasons.count("rejected by the reviewer: wait for the goods") == 2


def test_a_file_that_is_not_there_fails_the_run_and_is_named(shell: Shell) -> None:
    answer = shell.kneo("run", SPEC, "--input", "no/such.csv", code=3)
    assert "no/such.csv" in answer.out + answer.err
