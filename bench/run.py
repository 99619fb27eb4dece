"""How the product does beside the raw ceiling of SQLite, how its cost grows, many runs at once, and the service.

    make bench                the whole measurement, a few minutes
    make bench ARGS=--quick   one short round of each

Only ratios of figures taken in one session mean something; so the product and the ceiling are measured in turns.
"""

import statistics
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench import ceiling, concurrency, service, workload


def main() -> None:
    quick = "--quick" in sys.argv[1:]
    with tempfile.TemporaryDirectory(dir=".") as folder:
        _lengths(Path(folder), rounds=1 if quick else 5)
        _speeds(Path(folder), rounds=1 if quick else 5, seconds=0.5 if quick else 2.0)
        print()
        concurrency.report(Path(folder))
        print()
        service.report(Path(folder), quick=quick)


def _lengths(folder: Path, rounds: int) -> None:
    print("One run of function steps: seconds (median), and bytes written for each step")
    seconds: dict[int, float] = {}
    for steps in (100, 1000):
        found = [workload.measure_length(folder / f"length-{steps}-{number}.sqlite", steps) for number in range(rounds)]
        seconds[steps] = statistics.median(length.seconds for length in found)
        first = statistics.median(length.first_bytes for length in found)
        last = statistics.median(length.last_bytes for length in found)
        print(f"{steps:6d} steps {seconds[steps]:8.2f} s   first tenth {first:8,.0f} bytes   last {last:8,.0f} bytes")
    print(f"1,000 steps take {seconds[1000] / seconds[100]:.1f} times as long as 100\n")


def _speeds(folder: Path, rounds: int, seconds: float) -> None:
    print("Durable appends a second (medians): the product, the raw ceiling, and their ratio")
    for loaded in (False, True):
        for callers in (1, 64):
            ours, raw = [], []
            for number in range(rounds):
                name = f"{callers}-{loaded}-{number}"
                raw.append(ceiling.one_round(folder / f"raw-{name}.sqlite", callers, loaded, seconds=seconds))
                ours.append(workload.one_round(folder / f"ours-{name}.sqlite", callers, loaded, seconds=seconds))
            product, bound = statistics.median(ours), statistics.median(raw)
            load = "callers that compute" if loaded else "idle callers"
            print(f"{callers:4d} callers, {load:22s}{product:9,.0f} {bound:9,.0f}   {product / bound:5.0%}")


if __name__ == "__main__":
    main()
