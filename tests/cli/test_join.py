"""``worker join`` tries the connection and says what is wrong with it, and what to do; all over real sockets."""

from __future__ import annotations

import json
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from email.utils import formatdate
from pathlib import Path
from typing import Any, NamedTuple, cast

import pytest
from websockets.http11 import Request, Response
from websockets.sync.server import ServerConnection, serve

from appliance.wire import SUBPROTOCOL, WORKER_NAME_HEADER
from tests.cli.certificates import Certificate
from tests.cli.conftest import Run
from tests.cli.wrong_lines import TOKEN
from tests.client.conftest import Reply, Service
from tests.journeys.site import Site, opened


class Joined(NamedTuple):
    """What ``worker join`` did. ``said``: what it wrote on stderr."""

    code: int
    said: str
    out: bytes
    is_stored: bool


Join = Callable[..., Joined]


@pytest.fixture
def join(orchestra: Run, tmp_path: Path) -> Join:
    """Joins with a directory of its own; whatever happens, errors are one line, for people."""

    def run(url: str, token: str = TOKEN, *more: str) -> Joined:
        home = tmp_path / "worker"
        ran = orchestra("worker", "join", url, token, "--data", home, *more)
        is_stored = (home / "worker.toml").exists()
        assert is_stored == (home / "token").exists()
        if ran.code:
            assert re.search(r"(^|\n)orchestra: [^\n]+\n$", ran.err) and "Traceback" not in ran.err
        return Joined(ran.code, ran.err, ran.out, is_stored)

    return run


@contextmanager
def master(
    certificate: Certificate | None = None, *, seconds_ahead: float | None = 0.0, name: str = "far"
) -> Iterator[int]:
    """What a server answers to a worker that it takes, with a clock of its own; its port."""

    def admit(_connection: ServerConnection, _request: Request, response: Response) -> None:
        del response.headers["Date"]
        if seconds_ahead is not None:
            response.headers["Date"] = formatdate(time.time() + seconds_ahead, usegmt=True)
        response.headers[WORKER_NAME_HEADER] = name

    server = serve(
        lambda connection: None,
        "localhost",
        0,
        subprotocols=[cast(Any, SUBPROTOCOL)],
        process_response=admit,
        ssl=None if certificate is None else certificate.server_context(),
    )
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.socket.getsockname()[1]
    finally:
        server.shutdown()
        thread.join()


@contextmanager
def speaking(greeting: bytes) -> Iterator[str]:
    """A program that says this to whoever connects, hears something and hangs up; its address."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def answer() -> None:
            accepted, _ = listening.accept()
            with accepted:
                accepted.sendall(greeting)
                accepted.recv(65_536)

        thread = threading.Thread(target=answer)
        thread.start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        thread.join()


# the address


def test_a_name_that_is_not_known_is_named(join: Join) -> None:
    joined = join("https://no-such-host.invalid")
    assert (joined.code, joined.is_stored) == (5, True)
    assert "the name in https://no-such-host.invalid is not known here" in joined.said
    assert "check the spelling" in joined.said


def test_a_port_on_which_nothing_listens_is_named(join: Join) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"
        joined = join(url)
    assert (joined.code, joined.is_stored) == (5, True)
    assert f"nothing listens at {url}: is the server running, and is the port right?" in joined.said
    assert "everything is stored: run this again to try, or 'orchestra worker run --config" in joined.said


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (Reply(200, body=b"<html>welcome", content_type="text/html"), "answers 200 instead of a WebSocket"),
        (Reply(404, body=b"<html>not here", content_type="text/html"), "no orchestra server at this address"),
        (
            Reply(302, body=b"", headers={"Location": "https://h/login"}),
            "points to 'https://h/login': give that address",
        ),
        (Reply(400, body=b"plain HTTP request sent to HTTPS port"), "is it https instead of http?"),
    ],
    ids=["a page", "nothing at this path", "a login page before it", "a TLS port of nginx"],
)
def test_another_web_server_at_the_port_is_told_from_ours(
    join: Join, service: Service, reply: Reply, words: str
) -> None:
    service.replies = [reply]
    joined = join(service.url)
    assert (joined.code, joined.is_stored) == (5, False)
    assert words in joined.said and "nothing was stored" in joined.said


def test_a_proxy_without_the_server_behind_it_is_told_and_may_pass(join: Join, service: Service) -> None:
    service.replies = [Reply(502, body=b"<html>Bad Gateway", content_type="text/html")]
    joined = join(service.url)
    assert (joined.code, joined.is_stored) == (5, True)
    assert "a proxy before it, answers 502" in joined.said


def test_a_program_at_the_port_that_speaks_no_http_is_no_server_of_ours(join: Join) -> None:
    with speaking(b"SSH-2.0-OpenSSH_9.2\r\n") as url:
        joined = join(url)
    assert (joined.code, joined.is_stored) == (5, False)
    assert f"what answers at {url} is no orchestra server" in joined.said
    assert "is the port right, or is it https instead of http?" in joined.said


@pytest.mark.parametrize("greeting", [b"", b"\x15\x03\x03\x00\x02\x02\x16"], ids=["nothing", "an alert of TLS"])
def test_a_connection_that_is_cut_without_an_answer_may_be_better_later(join: Join, greeting: bytes) -> None:
    with speaking(greeting) as url:
        joined = join(url)
    assert (joined.code, joined.is_stored) == (5, True)
    assert f"{url} cut the connection before it answered" in joined.said
    assert "is the port right, or is it https instead of http?" in joined.said


# the clock


@pytest.mark.parametrize(
    ("seconds_ahead", "words"),
    [
        (0.0, None),
        (25.0, None),
        (-25.0, None),
        (None, None),
        (40.0, "s behind the server's"),
        (-40.0, "s ahead of the server's"),
        (86_400.0, "23 h 59 min behind the server's"),
    ],
)
def test_a_clock_that_is_off_by_more_than_half_a_minute_is_a_warning(
    join: Join, seconds_ahead: float | None, words: str | None
) -> None:
    with master(seconds_ahead=seconds_ahead) as port:
        joined = join(f"http://localhost:{port}")
    assert (joined.code, joined.is_stored) == (0, True)
    assert "the server knows this worker as far" in joined.said
    if words is None:
        assert "the clock of" not in joined.said
    else:
        assert re.search("|".join([words, words.replace("23 h 59 min", "1 d 0 h")]), joined.said)
        assert "set the wrong one right" in joined.said


def test_with_json_all_of_it_is_one_document(join: Join, tmp_path: Path) -> None:
    with master(seconds_ahead=3600) as port:
        joined = join(f"http://localhost:{port}", TOKEN, "--json")
    told = json.loads(joined.out)
    assert -3602 <= told.pop("clock_offset") <= -3598
    file = str(tmp_path / "worker" / "worker.toml")
    assert told == {"name": "far", "file": file, "next": f"orchestra worker run --config {file}", "enabled": True}


# the certificate

THIS_YEAR = time.gmtime().tm_year
NOW = (THIS_YEAR, THIS_YEAR + 2)


@pytest.mark.parametrize(
    ("name", "years", "is_trusted", "words"),
    [
        ("DNS:localhost", NOW, True, None),
        ("DNS:localhost", NOW, False, "is signed by nobody whom this machine trusts: install its CA here, or name"),
        ("DNS:localhost", (2020, 2021), True, "has expired: renew it at the server; or the clock of this machine"),
        ("DNS:localhost", (THIS_YEAR + 2, THIS_YEAR + 3), True, "is not valid yet: set the clock of this machine"),
        ("DNS:ci.example.org", NOW, True, "is for another name: use the one that it was made for in the URL"),
    ],
    ids=["good", "self-signed", "expired", "not yet valid", "another name"],
)
def test_req_S_85_a_certificate_that_is_not_good_is_explained_and_gets_no_token(
    join: Join,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    years: tuple[int, int],
    is_trusted: bool,
    words: str | None,
) -> None:
    certificate = Certificate(tmp_path / "made", name, years)
    if is_trusted:
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate.file))
    with master(certificate) as port:
        url = f"https://localhost:{port}"
        joined = join(url)
    assert joined.is_stored
    if words is None:
        assert joined.code == 0, joined.said
    else:
        assert joined.code == 5
        assert f"the certificate of {url} {words}" in joined.said


def test_https_at_a_port_without_tls_and_http_at_one_with_it_are_told(join: Join, tmp_path: Path) -> None:
    with master() as port:
        assert "is it http instead of https?" in join(f"https://localhost:{port}").said
    with master(Certificate(tmp_path / "made", "DNS:localhost", NOW)) as port:
        assert "is it https instead of http?" in join(f"http://localhost:{port}").said


# the token, with a real server


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with opened(tmp_path_factory.mktemp("site")) as site:
        yield site


def test_a_token_that_the_server_takes_joins(join: Join, site: Site) -> None:
    made = site.client.create_worker("good")
    joined = join(site.url, made["token"])
    assert (joined.code, joined.is_stored) == (0, True)
    assert "the server knows this worker as good" in joined.said and "the clock of" not in joined.said
    assert joined.out.startswith(b"next: orchestra worker run --config ")


def test_a_token_of_another_server_is_refused(join: Join, site: Site) -> None:
    joined = join(site.url, TOKEN)
    assert (joined.code, joined.is_stored) == (4, False)
    assert "the server does not know this token: it was revoked, or not used within 24 hours" in joined.said
    assert "'orchestra worker token NAME'" in joined.said and "nothing was stored" in joined.said


def test_the_token_of_a_removed_worker_is_refused(join: Join, site: Site) -> None:
    token = site.client.create_worker("removed")["token"]
    site.client.remove_worker("removed")
    joined = join(site.url, token)
    assert (joined.code, joined.is_stored) == (4, False)
    assert "it was revoked" in joined.said


def test_a_token_that_was_taken_away_is_refused(join: Join, site: Site) -> None:
    token = site.client.create_worker("revoked")["token"]
    site.client.revoke_worker("revoked")
    joined = join(site.url, token)
    assert (joined.code, joined.is_stored) == (4, False)
    assert "revoked" in joined.said


def test_a_disabled_worker_joins_and_is_told_why_it_will_get_nothing(join: Join, site: Site) -> None:
    token = site.client.create_worker("off")["token"]
    site.client.enable_worker("off", False)
    joined = join(site.url, token)
    assert (joined.code, joined.is_stored) == (0, True)
    assert "it is disabled and will get no runs: 'orchestra worker enable off'" in joined.said


def test_the_token_of_another_worker_is_refused_where_a_name_is_given(join: Join, site: Site) -> None:
    token = site.client.create_worker("other")["token"]
    joined = join(site.url, token, "--name", "mine")
    assert (joined.code, joined.is_stored) == (1, False)
    assert "this token belongs to the worker 'other', not to 'mine'" in joined.said


def test_a_users_token_is_told_from_a_workers_before_it_is_sent(orchestra: Run, site: Site, tmp_path: Path) -> None:
    token = site.client.create_token("for a test")["token"]
    ran = orchestra("worker", "join", site.url, token, "--data", tmp_path / "worker")
    assert ran.code == 2
    assert "this is the token of a user; a worker has its own, from 'orchestra worker token NAME'" in ran.err
    assert not (tmp_path / "worker").exists()
