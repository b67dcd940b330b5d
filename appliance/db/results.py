"""How the two layers of a run's results become one text. Shared by the adapters, so that all answer the same bytes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


def lay_over(text: str, values: Mapping[str, Any]) -> str:
    """The worker's results ``text`` (JSON object) with ``values`` over them, key by key.

    Members that are not overlaid keep their exact text: nothing is reinterpreted (J03, D5).
    """
    if not values:
        return text
    members: dict[str, Any] = {**_members(text), **values}
    return msgspec.json.encode(members).decode()
