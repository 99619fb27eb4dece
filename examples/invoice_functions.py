"""Checks a CSV of invoices, and after a person's decision about the large ones writes what is to be paid.

The steps of invoice_approval.yaml: `check_invoices`, a person, `write_payments`. Each row of the file ends in exactly
one of two lists, paid or rejected, whatever the person answers and however often a step runs.

Only text flows from step to step, and after a rejection it is the reviewer's words alone. So the checked rows do not
travel: they wait in a file under the id of the run, which every function can ask for by `current_call()`.
"""

import csv
import hashlib
import io
import json
import os
import re
import threading
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from datetime import date
from decimal import Decimal
from pathlib import Path

from kneo_serv.tools import current_call

COLUMNS = ["invoice", "supplier", "iban", "amount", "currency", "due_date"]
CURRENCY = "EUR"
LIMIT = Decimal("10000.00")
"""Above it, a person decides."""

OUTPUT = Path("demo-output")
"""Each run writes its payments.csv and rejections.csv into a folder of its own in here."""
WORK = Path(".kneo", "artifacts")
"""Where the checked rows wait for the person."""

REJECTED = "Rejected by human reviewer:"
"""How the text begins that goes on after a rejection."""

PAY, ASK, REJECT = "pay", "ask", "reject"


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the file, and what becomes of it. The columns are empty when the line could not be split."""

    line: int
    text: str
    fate: str
    reason: str = ""
    invoice: str = ""
    supplier: str = ""
    iban: str = ""
    amount: str = ""
    currency: str = ""
    due_date: str = ""

    @property
    def label(self) -> str:
        """What the person reads about an invoice after its number."""
        return f"({self.supplier}, {money([self])}, due {self.due_date}, to {self.iban}, line {self.line})"


@dataclass(frozen=True, slots=True)
class Batch:
    """The checked file: all of its rows, and the text that the person is shown."""

    review: str
    rows: list[Row]


def check_invoices(text: str) -> str:
    """Reads the CSV file at the path `text`, and says which of its invoices are good, large or wrong.

    The sums and the lines of the answer are for a person, who may edit the lines that begin with `pay`.
    """
    path = Path(text.strip())
    if not path.is_file():
        raise ValueError(f"There is no file {text.strip()!r}: the input is the path of a CSV file of invoices.")
    data = path.read_bytes()
    rows = check_rows(data)
    batch = Batch(review(str(path), hashlib.sha256(data).hexdigest()[:12], rows), rows)
    write(batch_file(), json.dumps(asdict(batch), ensure_ascii=False, indent=1))
    return batch.review


def write_payments(text: str) -> str:
    """Writes payments.csv and rejections.csv as the person decided, and says how many rows went where."""
    batch = read_batch()
    waiting = decide(batch, text)
    rows = [waiting.get(row.line, row) for row in batch.rows]
    paid = [row for row in rows if row.fate == PAY]
    rejected = [row for row in rows if row.fate == REJECT]
    if len(paid) + len(rejected) != len(batch.rows):
        raise AssertionError(f"{len(batch.rows)} rows in, but {len(paid)} paid and {len(rejected)} rejected.")

    folder = OUTPUT / run_name()
    payments, rejections = folder / "payments.csv", folder / "rejections.csv"
    write(payments, table(COLUMNS, ([getattr(row, column) for column in COLUMNS] for row in paid)))
    write(
        rejections,
        table(
            ["line", "invoice", "reason", "row"], ([row.line, row.invoice, row.reason, row.text] for row in rejected)
        ),
    )
    return (
        f"{count(batch.rows)} in: {len(paid)} paid ({money(paid)}), {len(rejected)} rejected. "
        f"Written: {payments}, {rejections}"
    )


# -- checking


def check_rows(data: bytes) -> list[Row]:
    """Every row of the file with its fate. One line is one row, so an unclosed quote spoils no other; blank ones go.

    Raises:
        ValueError: the file as a whole is not a list of invoices.
    """
    # Bytes that are no UTF-8 become lone surrogates: they spoil their own row and no other.
    text = data.decode("utf-8-sig", errors="surrogateescape").replace("\r\n", "\n").replace("\r", "\n")
    head, *lines = text.split("\n")
    if split(head) != COLUMNS:
        raise ValueError(f"The first line must be {','.join(COLUMNS)!r}, but it is {printable(head)[:100]!r}.")
    rows: list[Row] = []
    seen: dict[str, int] = {}
    for number, line in enumerate(lines, start=2):
        if line.strip():
            row = check_row(number, line, seen)
            if row.fate != REJECT:
                seen[row.invoice.casefold()] = number
            rows.append(row)
    return rows


def check_row(number: int, line: str, seen: dict[str, int]) -> Row:
    """One row with its fate. `seen` holds the lines of the good invoices above it, by their numbers."""
    text = printable(line)
    if text != line:
        return Row(number, text, REJECT, "not UTF-8 text")
    try:
        cells = split(line)
    except csv.Error as error:
        return Row(number, text, REJECT, f"not a CSV row: {error}")
    if len(cells) != len(COLUMNS):
        return Row(number, text, REJECT, f"{len(cells)} columns instead of {len(COLUMNS)}")
    row = Row(number, text, PAY, "", *cells)
    row = replace(row, iban=row.iban.replace(" ", "").upper())
    reasons = list(faults(row))
    if row.invoice.casefold() in seen:
        reasons.append(f"invoice number stands in line {seen[row.invoice.casefold()]} already")
    if reasons:
        return replace(row, fate=REJECT, reason="; ".join(reasons))
    return replace(row, fate=ASK if Decimal(row.amount) > LIMIT else PAY)


def faults(row: Row) -> Iterable[str]:
    """What is wrong with the columns of a row."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,39}", row.invoice):
        yield f"invoice number {row.invoice!r} is not made of letters, digits and . _ / -"
    if not row.supplier:
        yield "no supplier"
    if not good_iban(row.iban):
        yield f"IBAN {row.iban!r} is not valid: check for a typing error"
    if not re.fullmatch(r"-?[0-9]{1,12}(\.[0-9]{1,2})?", row.amount):
        yield f"amount {row.amount!r} is not a number such as 1234.50"
    elif Decimal(row.amount) <= 0:
        yield f"amount {row.amount} is not above zero"
    if row.currency != CURRENCY:
        yield f"currency {row.currency!r} is not {CURRENCY}"
    if not good_date(row.due_date):
        yield f"due date {row.due_date!r} is not a day such as 2026-12-31"


def good_iban(iban: str) -> bool:
    """Whether the check digits of an account number fit (ISO 13616: modulo 97)."""
    if not re.fullmatch(r"[A-Z]{2}[0-9]{2}[A-Z0-9]{11,30}", iban):
        return False
    digits = "".join(str(int(sign, 36)) for sign in iban[4:] + iban[:4])
    return int(digits) % 97 == 1


def good_date(day: str) -> bool:
    """Whether a text is a day of the calendar, written as 2026-12-31."""
    if not re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", day):
        return False
    try:
        date.fromisoformat(day)
    except ValueError:
        return False
    return True


def split(line: str) -> list[str]:
    """The cells of one line, without blanks around them."""
    return [cell.strip() for cell in next(csv.reader([line], strict=True), [])]


def printable(line: str) -> str:
    """The line with bytes that are no UTF-8 written as backslash escapes."""
    return line.encode("utf-8", errors="surrogateescape").decode("utf-8", errors="backslashreplace")


# -- the person


def review(source: str, digest: str, rows: list[Row]) -> str:
    """What the person reads. The digest ties the answer to this very file."""
    pay, ask, rejected = ([row for row in rows if row.fate == fate] for fate in (PAY, ASK, REJECT))
    return "\n".join(
        [
            f"Invoices of {source} (batch {digest}): {count(rows)}.",
            f"Good: {count(pay)}, {money(pay)}. They are paid whatever you decide.",
            f"Over {LIMIT:,.2f} {CURRENCY}: {count(ask)}, {money(ask)}. Your decision:",
            *(f"pay {row.invoice} {row.label}" for row in ask),
            f"Wrong: {count(rejected)}. They are not paid.",
            *(f"line {row.line}: {row.reason}" for row in rejected[:20]),
            *([f"... and {count(rejected[20:])} more; all stand in rejections.csv."] if rejected[20:] else []),
        ]
    )


def decide(batch: Batch, answer: str) -> dict[int, Row]:
    """The rows that waited, by line, with the fate that the person chose.

    The answer is the text of the review (all are paid), a rejection (none is), or an edit: of the invoices that wait,
    those are paid for which a line `pay NUMBER` stands; `reject NUMBER` or no line at all means no. Nothing else may
    be changed: a person who changes an amount must not believe that it counts.
    """
    waiting = {row.invoice.casefold(): row for row in batch.rows if row.fate == ASK}
    if answer.startswith(REJECTED):
        words = answer.removeprefix(REJECTED).strip()
        reason = f"rejected by the reviewer: {words}" if words else "rejected by the reviewer"
        return {row.line: replace(row, fate=REJECT, reason=reason) for row in waiting.values()}

    known = {" ".join(line.split()) for line in batch.review.split("\n")}
    chosen: dict[int, str] = {}
    for line in filter(None, (" ".join(line.split()) for line in answer.split("\n"))):
        verdict, _, rest = line.partition(" ")
        number, _, label = rest.partition(" ")
        row = waiting.get(number.casefold())
        if verdict in (PAY, REJECT) and row and label in ("", " ".join(row.label.split())):
            if chosen.setdefault(row.line, verdict) != verdict:
                raise ValueError(f"Invoice {row.invoice} stands under both pay and reject. Nothing was paid.")
        elif line not in known:
            raise ValueError(
                f"Not understood: {line!r}. An edit holds lines such as 'pay NUMBER' or 'reject NUMBER' for "
                f"{', '.join(row.invoice for row in waiting.values()) or 'no invoice, since none waits'}, "
                "and changes nothing else. Nothing was paid; start the run again."
            )
    return {
        row.line: replace(row, fate=PAY)
        if chosen.get(row.line) == PAY
        else replace(row, fate=REJECT, reason="not approved by the reviewer")
        for row in waiting.values()
    }


# -- files


def run_name() -> str:
    """The id of this run as the name of a file or folder."""
    return current_call().run_id.replace(":", "-")


def batch_file() -> Path:
    """Where the checked rows of this run wait."""
    return WORK / f"{run_name()}.json"


def read_batch() -> Batch:
    """The rows that `check_invoices` left in this run."""
    path = batch_file()
    if not path.is_file():
        raise ValueError(f"The checked invoices of this run are not in {path}: answer in the folder where it began.")
    batch = json.loads(path.read_text(encoding="utf-8"))
    return Batch(batch["review"], [Row(**row) for row in batch["rows"]])


def write(path: Path, text: str) -> None:
    """Puts the text into the file all at once: a reader finds the old content or the new, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}")
    with draft.open("w", encoding="utf-8", newline="") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)


def table(head: list[str], rows: Iterable[list[object]]) -> str:
    """Rows as CSV text."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([head, *rows])
    return text.getvalue()


def count(rows: list[Row]) -> str:
    """How many rows."""
    return "1 row" if len(rows) == 1 else f"{len(rows)} rows"


def money(rows: list[Row]) -> str:
    """The sum of the rows."""
    return f"{sum((Decimal(row.amount) for row in rows), Decimal()):,.2f} {CURRENCY}"
