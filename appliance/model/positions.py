"""What a command of a run is called: ``commands[1]`` where programs read it, "command 2" in every sentence."""

from __future__ import annotations

import re

_POSITION = re.compile(r"(setup_commands|commands|teardown_commands)\[([0-9]{1,9})\]")
_WORDS = {"setup_commands": "setup", "commands": "command", "teardown_commands": "teardown"}


def command_words(position: str) -> str:
    """``commands[1]`` as people count: ``command 2``. What stands behind it stays; any other text is left alone."""
    found = _POSITION.match(position)
    return f"{_WORDS[found[1]]} {int(found[2]) + 1}{position[found.end() :]}" if found else position
