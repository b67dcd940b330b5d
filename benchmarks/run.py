"""``python -m benchmarks.run [--quick] all|m1|m2|…``: measure and print. Ends 1 if a goal was not met."""

from __future__ import annotations

import argparse
import importlib
import time

ROWS = ("m1", "m2", "m3", "m4", "m5", "m6", "m9", "m11", "m14", "m15", "s16")
SAMPLES, QUICK = 5, 1


def main() -> int:
    """Run what the command line names."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.run", description="Measure the product.")
    parser.add_argument("rows", nargs="+", choices=[*ROWS, "all"], metavar="ROW", help=f"all, {', '.join(ROWS)}")
    parser.add_argument("--quick", action="store_true", help="one sample instead of five")
    arguments = parser.parse_args()
    rows = ROWS if "all" in arguments.rows else tuple(dict.fromkeys(arguments.rows))
    samples = QUICK if arguments.quick else SAMPLES
    begun = time.monotonic()
    missed = [row.upper() for row in rows if not importlib.import_module(f"benchmarks.{row}").main(samples)]
    print(f"\n{len(rows)} rows in {time.monotonic() - begun:.0f} s; goals not met: {', '.join(missed) or 'none'}")
    return 1 if missed else 0


if __name__ == "__main__":
    raise SystemExit(main())
