"""``python -m benchmarks.beside COMMIT [--rounds N] ROW…``: an earlier state of the product and this one, side by side.

Both are installed from what git has, and measured in turns, so that a machine that slows down slows both.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks.lib import Series, amount
from benchmarks.run import ROWS

ROOT = Path(__file__).parents[1]
ROUNDS = 4
_FIGURE = re.compile(
    r"^    (product\S?.*?)\s{2,}median\s+([\d.,]+)\s+p95.*spread [\d.,]+ to [\d.,]+\s+(\S+) \(n=", re.MULTILINE
)


def install(commit: str, directory: Path) -> Path:
    """The product as git has it, with its benchmarks beside it; answers the directory to run them in."""
    source, site = directory / "source", directory / "site"
    source.mkdir(parents=True)
    packed = subprocess.run(["git", "archive", commit], cwd=ROOT, stdout=subprocess.PIPE, check=True).stdout
    subprocess.run(["tar", "-x", "-C", source], input=packed, check=True)
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", site, source], check=True)
    shutil.copytree(source / "benchmarks", site / "benchmarks")
    return site


def figures(report: str) -> Iterator[tuple[str, float, str]]:
    """The product's figures in a report: name, median and unit."""
    for name, median, unit in _FIGURE.findall(report):
        yield name, float(median.replace(",", "")), unit


def measure(site: Path, row: str) -> str:
    """The report of a row, one quick round. A goal that is not met is no error here."""
    environment = {**os.environ, "PYTHONPATH": str(site)}
    command = [sys.executable, "-m", "benchmarks.run", "--quick", row]
    done = subprocess.run(command, cwd=site, env=environment, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode not in (0, 1) or not list(figures(done.stdout)):
        raise RuntimeError(f"{row} in {site} ended with {done.returncode}: {done.stdout[-2000:]}")
    return done.stdout


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.beside", description="Measure two states in turns.")
    parser.add_argument("commit", help="the earlier one")
    parser.add_argument("rows", nargs="+", choices=ROWS, metavar="ROW", help=", ".join(ROWS))
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"of each; {ROUNDS}")
    arguments = parser.parse_args()
    found: dict[tuple[str, str], dict[str, Series]] = {}
    with tempfile.TemporaryDirectory(prefix="beside-") as made:
        sites = {"before": install(arguments.commit, Path(made, "before")), "now": install("HEAD", Path(made, "now"))}
        for number in range(arguments.rounds):
            for row in arguments.rows:
                # Who comes second finds a machine that has just worked: that is each in its turn.
                for state in sorted(sites, reverse=bool(number % 2)):
                    print(f"round {number + 1} of {arguments.rounds}: {row}, {state}", file=sys.stderr, flush=True)
                    for name, median, unit in figures(measure(sites[state], row)):
                        series = found.setdefault((row, name), {}).setdefault(state, Series(name, unit))
                        series.samples.append(median)
    for (row, name), states in found.items():
        print(f"{row.upper():<4} {name}")
        for state, series in states.items():
            spread = f"{amount(min(series.samples))} to {amount(max(series.samples))}"
            print(f"     {state:<7} median {amount(series.median):>7} {series.unit}, spread {spread}")
        if len(states) == len(sites):
            print(f"     change  {100 * (states['now'].median / states['before'].median - 1):+.1f} %")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
