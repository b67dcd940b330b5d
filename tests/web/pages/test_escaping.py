"""S-13: no text of a job, a worker or a person becomes markup, on any page."""

from __future__ import annotations

from collections import Counter

import pytest

from appliance.model.entities import Run
from appliance.model.run_state import Status
from appliance.workers import Registration
from tests.web.pages.hostile import TEXTS
from tests.web.pages.site import Site, add_project, make_site
from tests.web.pages.test_pages import Structure

PATHS = (
    "/",
    "/projects",
    "/p/website",
    "/p/website/job",
    "/p/website/job/1",
    "/p/website/job/1/log",
    "/runs",
    "/workers",
    "/me",
)


def plant(site: Site, text: str) -> Run:
    """A site on which every text that somebody else decides is this one."""
    log = text.replace("\n", " ").encode()
    job = {
        "identifier": "job",
        "display_name": text[:200],
        "description": text,
        "definition": {"commands": [[text.replace("{", "{{").replace("}", "}}")]]},
        "parameters": [
            {"key": "free", "description": text, "default": text},
            {"key": "one", "description": text, "type": "choice", "choices": [text, "x"], "default": text},
        ],
    }
    add_project(site, [job], findings=(text,))
    run = site.run("job", Status.RUNNING, log)
    worker = site.parts.workers.named("build-1").worker
    said = Registration("j" * 32, text[:100], 4, {"os": text, text[:60]: "x"}, 0.0)
    site.parts.workers.register(worker.id, said)
    site.parts.accounts.create_token("ada", text)
    return site.finish(
        run,
        Status.FAILED,
        log,
        results={"text": text, text: "x", "nested": {text: [text]}, "link": text},
        sentence=text,
        notes=(text,),
    )


def elements(site: Site) -> list[Counter[str]]:
    browser = site.login()
    pages = []
    for path in PATHS:
        answer = browser.get(path)
        assert answer.status == 200, path
        pages.append(Counter(f"{tag} {sorted(attributes)}" for tag, attributes in Structure(answer.text).elements))
    return pages


@pytest.fixture(scope="module")
def harmless(tmp_path_factory: pytest.TempPathFactory) -> list[Counter[str]]:
    """What the pages are made of when every text is harmless."""
    site = make_site(tmp_path_factory.mktemp("plain"))
    plant(site, "harmless")
    found = elements(site)
    site.logs.close()
    return found


@pytest.mark.parametrize("text", TEXTS)
def test_req_S_13_no_text_becomes_an_element_or_an_attribute(
    text: str, site: Site, harmless: list[Counter[str]]
) -> None:
    plant(site, text.replace("\x00", "\x01"))
    assert elements(site) == harmless
