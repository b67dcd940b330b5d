"""Run the unit tests in two processes and print what of the product they do not reach; ends 1 below the floor.

Journeys, browser tests, executors and servers of the command line are processes of their own and are not counted: this
tells what the fast tests hold. The tests let nobody open SQLite files in their process, so coverage keeps its data in
memory and hands it over as bytes.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import coverage
import pytest

FLOOR = 88  # percent of lines and branches: what was reached when this was written, less 2
ROOT = Path(__file__).parents[1]
LEFT_OUT = {"browser", "journeys", "house", "benchmarks", "__pycache__"}
FIRST = {"web", "worker"}  # about half of the time


def run_part(tests: list[str], result: Path) -> int:
    """Run some tests, and leave what they reached in a file."""
    measured = coverage.Coverage(data_file=None)
    measured.get_data().measured_contexts()  # opens its memory before the tests forbid it
    measured.start()
    code = pytest.main(["-q", "-p", "no:cacheprovider", "--ignore=tests/cli/test_end_to_end.py", *tests])
    measured.stop()
    result.write_bytes(measured.get_data().dumps())
    return int(code)


def main() -> int:
    """The exit code."""
    sources = {path.name: str(path) for path in (ROOT / "tests").iterdir() if path.name not in LEFT_OUT}
    tests = {name: path for name, path in sources.items() if not name.endswith(".py") or name.startswith("test_")}
    parts = ([tests[name] for name in sorted(FIRST)], [tests[name] for name in sorted(tests.keys() - FIRST)])
    whole = coverage.Coverage(data_file=None)
    with tempfile.TemporaryDirectory() as directory:
        results = [Path(directory, str(number)) for number in range(len(parts))]
        children = [
            subprocess.Popen([sys.executable, __file__, str(result), *part], cwd=ROOT)
            for part, result in zip(parts, results, strict=True)
        ]
        codes = [child.wait() for child in children]
        for result in results:
            data = coverage.CoverageData(no_disk=True)
            data.loads(result.read_bytes())
            whole.get_data().update(data)
    reached = whole.report()
    if any(codes) or reached < FLOOR:
        sys.stderr.write(f"tests ended with {codes}; {reached:.1f} % are reached, at least {FLOOR} % are asked for\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(run_part(sys.argv[2:], Path(sys.argv[1])) if len(sys.argv) > 1 else main())
