"""Each row of an invoice file ends in exactly one list, whatever the file holds and whatever the person answers."""

import csv
import shutil
from collections.abc import Iterator
from contextlib import chdir, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from examples.invoice_functions import check_invoices, check_rows, good_iban, write_payments
from kneo_serv.model.ids import RunId, StepKey
from kneo_serv.tools import CallContext, call_scope

SAMPLE = Path(__file__).parents[2] / "examples" / "data" / "invoices.csv"
HEAD = "invoice,supplier,iban,amount,currency,due_date"
GOOD = "A-1,Meyer,DE89370400440532013000,10.00,EUR,2026-12-01"
LARGE = "L-1,Meyer,DE89370400440532013000,10000.01,EUR,2026-12-01"


@contextmanager
def run(name: str = "run_2026-05-10T12:34:56_abc") -> Iterator[None]:
    """The inside of a function step of the run."""
    with call_scope(CallContext(RunId(name), StepKey("0"), "step", "key", attempt=1, fence=1)):
        yield


def check(text: str | bytes) -> str:
    """What the person reads about this file."""
    Path("in.csv").write_bytes(text if isinstance(text, bytes) else text.encode())
    return check_invoices("in.csv")


def outcome(name: str) -> list[dict[str, str]]:
    """The rows of a file that was written, without those of another run."""
    (path,) = Path("demo-output").glob(f"*/{name}")
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def paid() -> list[str]:
    return [row["invoice"] for row in outcome("payments.csv")]


def rejected() -> dict[str, str]:
    return {row["line"]: row["reason"] for row in outcome("rejections.csv")}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path) -> Iterator[Path]:
    with chdir(tmp_path):
        yield tmp_path


@pytest.fixture
def sample() -> Iterator[str]:
    """The review of the file that is shipped, inside its run."""
    shutil.copy(SAMPLE, "invoices.csv")
    with run():
        yield check_invoices("invoices.csv")


def test_the_review_names_the_large_invoices_and_the_lines_of_the_wrong_ones(sample: str) -> None:
    assert sample.split("\n") == [
        "Invoices of invoices.csv (batch eb81e8eb64e2): 12 rows.",
        "Good: 7 rows, 8,884.74 EUR. They are paid whatever you decide.",
        "Over 10,000.00 EUR: 2 rows, 60,750.00 EUR. Your decision:",
        "pay INV-1004 (Nordlicht Logistik AG, 18,450.00 EUR, due 2026-12-15, to CH9300762011623852957, line 5)",
        "pay INV-1010 (Helix Machinery, 42,300.00 EUR, due 2026-12-18, to SE4550000000058398257466, line 12)",
        "Wrong: 3 rows. They are not paid.",
        "line 4: 7 columns instead of 6",
        "line 8: IBAN 'ES9121000418450200051333' is not valid: check for a typing error",
        "line 10: invoice number stands in line 3 already",
    ]


def test_approving_pays_the_large_invoices_too(sample: str) -> None:
    answer = write_payments(sample)
    assert answer.startswith("12 rows in: 9 paid (69,634.74 EUR), 3 rejected. Written: demo-output")
    assert {"INV-1004", "INV-1010"} < set(paid())
    assert list(rejected()) == ["4", "8", "10"]


def test_rejecting_keeps_the_small_invoices_and_gives_the_reviewers_reason_for_the_large_ones(sample: str) -> None:
    write_payments("Rejected by human reviewer: wait for the goods")
    assert len(paid()) == 7
    assert {"INV-1004", "INV-1010"}.isdisjoint(paid())
    assert rejected()["5"] == rejected()["12"] == "rejected by the reviewer: wait for the goods"


def test_rejecting_without_a_reason_says_no_more_than_that(sample: str) -> None:
    write_payments("Rejected by human reviewer: ")
    assert rejected()["5"] == "rejected by the reviewer"


@pytest.mark.parametrize(
    "edit",
    [
        "pay INV-1004",
        "  pay   inv-1004\n\n",
        "pay INV-1004\nreject INV-1010",
        "pay INV-1004 (Nordlicht Logistik AG, 18,450.00 EUR, due 2026-12-15, to CH9300762011623852957, line 5)",
    ],
)
def test_an_edit_pays_those_that_it_names(sample: str, edit: str) -> None:
    write_payments(edit)
    assert "INV-1004" in paid()
    assert rejected()["12"] == "not approved by the reviewer"


def test_a_line_taken_out_of_the_review_is_not_paid(sample: str) -> None:
    write_payments("\n".join(line for line in sample.split("\n") if "INV-1010" not in line))
    assert "INV-1004" in paid()
    assert "INV-1010" not in paid()


@pytest.mark.parametrize(
    ("edit", "told"),
    [
        ("ok", "Not understood: 'ok'"),
        ("pay INV-9999", "Not understood: 'pay INV-9999'"),
        ("pay INV-1001", "for INV-1004, INV-1010"),
        ("pay INV-1004 (Nordlicht Logistik AG, 1.00 EUR)", "changes nothing else"),
        ("pay INV-1004\nreject INV-1004", "both pay and reject"),
    ],
)
def test_an_edit_that_is_not_understood_pays_nothing(sample: str, edit: str, told: str) -> None:
    with pytest.raises(ValueError, match="Nothing was paid") as caught:
        write_payments(edit)
    assert told in str(caught.value)
    assert not Path("demo-output").exists()


def test_an_answer_about_another_file_is_refused(sample: str) -> None:
    with run("run_other"):
        other = check(f"{HEAD}\n{LARGE}\n")
    with pytest.raises(ValueError, match="Not understood"):
        write_payments(other)


def test_two_runs_at_the_same_time_keep_their_rows_apart(sample: str) -> None:
    with run("run_other"):
        check(f"{HEAD}\n{GOOD}\n")
        write_payments("Rejected by human reviewer: ")
        assert paid() == ["A-1"]
    write_payments(sample)
    first, second = sorted(path.name for path in Path("demo-output").iterdir())
    assert (first, second) == ("run_2026-05-10T12-34-56_abc", "run_other")


def test_both_steps_may_run_again_and_leave_the_same_files(sample: str) -> None:
    assert check_invoices("invoices.csv") == sample
    answers = {write_payments(sample)}
    before = {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()}
    answers.add(write_payments(sample))
    assert len(answers) == 1
    assert {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()} == before


def test_a_reader_of_the_old_file_is_not_disturbed_by_the_new_one(sample: str) -> None:
    write_payments(sample)
    (path,) = Path("demo-output").glob("*/payments.csv")
    before = path.read_text(encoding="utf-8")
    with path.open(encoding="utf-8") as reader:
        write_payments("Rejected by human reviewer: ")
        assert reader.read() == before
    assert len(paid()) == 7


def test_a_draft_left_by_a_crash_does_not_stand_in_the_way(sample: str) -> None:
    folder = Path("demo-output", "run_2026-05-10T12-34-56_abc")
    folder.mkdir(parents=True)
    (folder / ".payments.csv.1-1").write_text("half a li")
    write_payments(sample)
    assert len(paid()) == 9


def test_deciding_without_the_checked_rows_says_where_they_are_looked_for(sample: str) -> None:
    shutil.rmtree(".kneo")
    with pytest.raises(ValueError, match=r"\.kneo/artifacts/.*answer in the folder where it began"):
        write_payments(sample)


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("A-1,Meyer,DE89370400440532013000,10.00,EUR", "5 columns instead of 6"),
        ("A-1,Meyer,DE89370400440532013000,1.250,00,EUR,2026-12-01", "7 columns instead of 6"),
        ('A-1,"Meyer,DE89370400440532013000,10.00,EUR,2026-12-01', "not a CSV row: unexpected end of data"),
        ("A 1,Meyer,DE89370400440532013000,10.00,EUR,2026-12-01", "invoice number 'A 1' is not made of"),
        (",Meyer,DE89370400440532013000,10.00,EUR,2026-12-01", "invoice number '' is not made of"),
        ("A-1, ,DE89370400440532013000,10.00,EUR,2026-12-01", "no supplier"),
        ("A-1,Meyer,DE89370400440532013001,10.00,EUR,2026-12-01", "IBAN 'DE89370400440532013001' is not valid"),
        ("A-1,Meyer,12345,10.00,EUR,2026-12-01", "IBAN '12345' is not valid"),
        ("A-1,Meyer,DE89370400440532013000,-10.00,EUR,2026-12-01", "amount -10.00 is not above zero"),
        ("A-1,Meyer,DE89370400440532013000,0,EUR,2026-12-01", "amount 0 is not above zero"),
        ("A-1,Meyer,DE89370400440532013000,NaN,EUR,2026-12-01", "amount 'NaN' is not a number"),
        ("A-1,Meyer,DE89370400440532013000,1e3,EUR,2026-12-01", "amount '1e3' is not a number"),
        ("A-1,Meyer,DE89370400440532013000,10.005,EUR,2026-12-01", "amount '10.005' is not a number"),
        ("A-1,Meyer,DE89370400440532013000,٣,EUR,2026-12-01", "amount '٣' is not a number"),
        ("A-1,Meyer,DE89370400440532013000,10.00,USD,2026-12-01", "currency 'USD' is not EUR"),
        ("A-1,Meyer,DE89370400440532013000,10.00,EUR,2026-02-30", "due date '2026-02-30' is not a day"),
        ("A-1,Meyer,DE89370400440532013000,10.00,EUR,20261201", "due date '20261201' is not a day"),
    ],
)
def test_a_wrong_row_is_rejected_with_its_line_and_reason(row: str, reason: str) -> None:
    with run():
        review = check(f"{HEAD}\n{GOOD.replace('A-1', 'A-0')}\n{row}\n")
        assert f"\nline 3: {reason}" in review
        write_payments(review)
    assert paid() == ["A-0"]
    assert rejected()["3"].startswith(reason)
    assert outcome("rejections.csv")[0]["row"] == row


def test_all_faults_of_a_row_are_told_at_once() -> None:
    with run():
        review = check(f"{HEAD}\nA-1,,X,0,USD,soon\n")
    assert review.count(";") == 4


def test_bytes_that_are_no_utf8_spoil_their_own_row_only() -> None:
    with run():
        review = check(HEAD.encode() + b"\n" + GOOD.encode() + b"\nA-2,M\xfcller,X,1,EUR,2026-12-01\n")
        write_payments(review)
    assert paid() == ["A-1"]
    assert rejected() == {"3": "not UTF-8 text"}
    assert outcome("rejections.csv")[0]["row"] == r"A-2,M\xfcller,X,1,EUR,2026-12-01"


def test_a_byte_order_mark_and_the_line_ends_of_other_systems_are_read() -> None:
    with run():
        assert "Good: 2 rows" in check(f"\ufeff{HEAD}\r\n{GOOD}\r{GOOD.replace('A-1', 'A-2')}\r\n")


def test_an_unclosed_quote_swallows_no_other_row() -> None:
    with run():
        review = check(f'{HEAD}\n"A-0,{GOOD}\n{GOOD}\n')
    assert "Good: 1 row," in review
    assert "line 2: not a CSV row" in review


def test_a_number_that_was_used_by_a_wrong_row_is_free_for_the_corrected_one() -> None:
    with run():
        review = check(f"{HEAD}\n{GOOD.replace('10.00', 'ten')}\n{GOOD}\n{GOOD.lower().replace('eur', 'EUR')}\n")
    assert "Good: 1 row," in review
    assert "line 4: invoice number stands in line 3 already" in review


def test_the_limit_itself_needs_no_approval() -> None:
    with run():
        review = check(f"{HEAD}\n{GOOD.replace('10.00', '10000.00')}\n{LARGE}\n")
    assert "Good: 1 row," in review
    assert "\npay L-1 (Meyer, 10,000.01 EUR" in review


def test_blanks_in_account_numbers_are_taken_out() -> None:
    with run():
        write_payments(check(f"{HEAD}\n{GOOD.replace('DE89370400440532013000', 'de89 3704 0044 0532 0130 00')}\n"))
    assert outcome("payments.csv")[0]["iban"] == "DE89370400440532013000"


def test_a_long_list_of_wrong_rows_is_cut_in_the_review_but_not_in_the_file() -> None:
    with run():
        review = check(f"{HEAD}\n" + "x\n" * 25)
        assert review.endswith("line 21: 1 columns instead of 6\n... and 5 rows more; all stand in rejections.csv.")
        write_payments(review)
    assert len(rejected()) == 25


def test_a_file_without_the_columns_is_refused_as_a_whole() -> None:
    with run():
        with pytest.raises(ValueError, match="The first line must be 'invoice,supplier,iban,"):
            check("")
        with pytest.raises(ValueError, match="but it is 'id,amount'"):
            check("id,amount\n1,2\n")
        with pytest.raises(ValueError, match="The first line must be"):
            check(HEAD.encode("utf-16"))


def test_a_path_that_leads_nowhere_is_named() -> None:
    with run(), pytest.raises(ValueError, match=r"no file 'nowhere\.csv': the input is the path"):
        check_invoices("nowhere.csv")


@pytest.mark.parametrize("iban", ["GB29NWBK60161331926819", "BE68539007547034", "FR1420041010050500013M02606"])
def test_one_wrong_sign_makes_an_account_number_invalid(iban: str) -> None:
    assert good_iban(iban)
    for place in range(len(iban)):
        other = "7" if iban[place] != "7" else "3"
        assert not good_iban(iban[:place] + other + iban[place + 1 :])


CELLS = st.one_of(
    st.sampled_from(
        [
            "A-1",
            "A-2",
            "a-1",
            "Meyer",
            "DE89370400440532013000",
            "10.00",
            "99999.99",
            "-1",
            "EUR",
            "2026-12-01",
            '"',
            "",
        ]
    ),
    st.text(st.characters(blacklist_characters="\n\r"), max_size=8),
)
ROWS = st.one_of(
    st.sampled_from([GOOD, GOOD.replace("A-1", "A-2"), LARGE, LARGE.replace("L-1", "L-2"), LARGE.lower(), "", "  "]),
    st.lists(CELLS, min_size=5, max_size=7).map(",".join),
).map(lambda row: row.encode("utf-8", errors="surrogatepass"))
ANSWERS = st.sampled_from(["approve", "Rejected by human reviewer: no", "pay L-1", "reject L-1", "pay L-1\npay L-2"])


@settings(max_examples=60, deadline=None)
@given(st.lists(st.one_of(ROWS, st.binary(max_size=20)), max_size=12), ANSWERS)
def test_no_row_is_lost_and_none_counts_twice(rows: list[bytes], answer: str) -> None:
    data = b"\n".join([HEAD.encode(), *rows])
    expected = [row.line for row in check_rows(data)]
    filled = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n").decode(errors="replace").split("\n")
    assert expected == [number for number, line in enumerate(filled, start=1) if number > 1 and line.strip()]
    with TemporaryDirectory() as folder, chdir(folder), run():
        review = check(data)
        refused = ""
        try:
            write_payments(review if answer == "approve" else answer)
        except ValueError as error:
            refused = str(error)
        if refused:
            assert "Nothing was paid" in refused
            assert not Path("demo-output").exists()
            return
        lines = [int(line) for line in rejected()]
        assert sorted(set(lines)) == lines
        assert len(paid()) + len(lines) == len(expected)
        assert len({invoice.casefold() for invoice in paid()}) == len(paid())
