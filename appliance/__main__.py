"""``orchestra`` and ``python -m appliance``."""

from __future__ import annotations

import sys

from appliance.cli import main as run_command_line


def main() -> None:
    """Run the command line of this process, and exit with its code."""
    sys.exit(run_command_line())


if __name__ == "__main__":
    main()
