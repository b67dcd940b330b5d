"""What is remembered of a lease while words about it come in."""

from __future__ import annotations

import msgspec


class Grip(msgspec.Struct):
    """A lease, as far as each word about it asks. ``restarts``: how often its log was asked for from the start.

    ``is_late``: the run was ended without the worker's exit record, whose report is taken all the same.
    """

    worker_id: str
    journal_id: str
    is_live: bool
    is_late: bool = False
    restarts: int = 0
