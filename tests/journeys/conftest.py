"""Sites of real processes. Each module of tests has one of its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.journeys.printing import PROJECTS
from tests.journeys.site import Site, opened


@pytest.fixture(scope="module")
def module_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with opened(tmp_path_factory.mktemp("site"), PROJECTS) as site:
        site.add_worker()
        yield site


@pytest.fixture
def site(module_site: Site) -> Site:
    """A server and a worker that are up."""
    module_site.heal()
    return module_site
