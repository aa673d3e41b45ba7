"""How large a report is, how long it takes to be written, and how long a browser takes to show it.

    python benchmarks/report_size.py [STUDY ...] [--trials 50 5000]

For each STUDY, a folder, and for a simulated study of each number of trials, it prints the size of the report, the
seconds of reading the study and of building the page, and the milliseconds from opening the page in headless Chromium
until all of it is drawn (the middle of three times). Simulated studies have 22 layers. Writing one of 5,000 trials
takes some minutes.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "helpers"))

from browser import browser, missing, show
from simulated_study import write_study

from autocompress.search.report.html.build import write_report
from autocompress.search.report.html.record import read_record

LAYERS = 22


def main() -> None:
    """Run what the command line asks for, and print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("studies", nargs="*", type=Path)
    parser.add_argument("--trials", nargs="*", type=int, default=[50, 5000])
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        studies = {path: path for path in options.studies}
        for count in options.trials:
            write_study(Path(folder) / f"simulated-{count}", count, LAYERS)
            studies[Path(f"simulated, {count} trials")] = Path(folder) / f"simulated-{count}"
        print(f"{'study':32}  {'trials':>6}  {'kB':>7}  {'read s':>7}  {'build s':>7}  {'load ms':>7}")
        for name, path in studies.items():
            print(f"{name!s:32}  {_row(path, Path(folder) / 'report.html')}", flush=True)


def _row(study: Path, page: Path) -> str:
    begun_s = time.perf_counter()
    record = read_record(study)
    read_s = time.perf_counter()
    write_report(record, page)
    built_s = time.perf_counter()
    shown = "       "
    if not missing():
        with browser() as driver:
            shown = f"{statistics.median(show(driver, page) for _ in range(3)):7.0f}"
    size = page.stat().st_size / 1e3
    return f"{len(record.front.trials):6}  {size:7.0f}  {read_s - begun_s:7.2f}  {built_s - read_s:7.2f}  {shown}"


if __name__ == "__main__":
    main()
