"""Notes come from a worker, which may send anything: what cannot be a note is no step (I7)."""

from __future__ import annotations

import pytest

from appliance.model.steps import read_steps

GOOD = b'{"note":"began","phase":"commands","index":0,"at":1700000000.5,"offset":3}\n'


@pytest.mark.parametrize(
    "field",
    [b'"at":1e300', b'"at":-1', b'"offset":-5', b'"offset":9223372036854775807', b'"index":-1', b'"seconds":1e308'],
)
def test_inv_I7_a_note_with_numbers_that_mean_nothing_is_left_out(field: bytes) -> None:
    bad = b'{"note":"began","phase":"commands","index":7,"at":1.0}\n'.replace(b'"at":1.0', field)
    steps = read_steps(bad + GOOD)
    assert [(step.name, step.offset) for step in steps] == [("commands[0]", 3)]
