from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.model.entities import Run
from appliance.model.run_state import Status
from tests.web.pages.site import Site, fill, make_site


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """A site without runs."""
    made = make_site(tmp_path)
    yield made
    made.logs.close()


@pytest.fixture
def runs(site: Site) -> dict[Status, Run]:
    """A run of every status on that site."""
    return fill(site)
