"""Forged requests, cookies, headers and transports (S-06 to S-17)."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from appliance.model.errors import Forbidden, NotFound, Unauthenticated
from appliance.model.permissions import Right
from appliance.passwords import SEEN_LIFE
from appliance.web.head import Head
from appliance.web.routes import Parts, Request, Response, Route, WebSettings, content, redirect
from appliance.web.security import CONTENT_POLICY, HEADERS, authenticate_socket
from appliance.web.service import ROUTES
from tests.web.principals import Cast, visitor
from tests.web.test_authorization import fill, rule_of
from tests.web.world import HOST, PASSWORD, Answer, World, ask, bearer, of_session

CHANGING = [route for route in ROUTES if route.method != "GET"]


@pytest.fixture
def site(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path, has_pages=True)
    yield made
    made.logs.close()


def stored(world: World) -> str:
    """Everything the repository holds, as text."""
    return repr(
        [
            {name: value for name, value in vars(store).items() if isinstance(value, dict | set | list)}
            for store in (world.repository.accounts, world.repository.runs, world.repository.workers)
        ]
    )


# ---- S-11

FORGED: dict[str, Callable[[dict[str, str], str], dict[str, str]]] = {
    "no token": lambda headers, _: {**headers, "Orchestra-CSRF": ""},
    "a made-up token": lambda headers, _: {**headers, "Orchestra-CSRF": "0" * 64},
    "a token that is not ASCII": lambda headers, _: {**headers, "Orchestra-CSRF": "\u00fc" * 64},
    "the token of another session": lambda headers, other: {**headers, "Orchestra-CSRF": other},
    "from another site": lambda headers, _: {**headers, "Sec-Fetch-Site": "cross-site"},
    "from a neighbour of this site": lambda headers, _: {**headers, "Sec-Fetch-Site": "same-site"},
    "from a foreign origin": lambda headers, _: without_site(headers) | {"Origin": "https://evil.example"},
    "from an origin that hides itself": lambda headers, _: without_site(headers) | {"Origin": "null"},
    "from the same host on another port": lambda headers, _: without_site(headers) | {"Origin": "http://127.0.0.1:9"},
}


def without_site(headers: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name != "Sec-Fetch-Site"}


@pytest.mark.parametrize("route", CHANGING, ids=rule_of)
def test_req_S_11_forged_requests_change_nothing(site: World, route: Route) -> None:
    if route.kind == "api" and route.right == "public":
        return_of_a_login_without_a_cookie(site, route)
        return
    cast = Cast(site)
    site.user("root", ["administrator"])
    site.user("other", ["administrator"])
    honest, other = of_session(site.login("root")), of_session(site.login("other"))["Orchestra-CSRF"]
    if route.right == "public":
        honest = visitor()
    target = fill(route.path, cast, site)
    before = stored(site)
    answers = {name: send(site, route, target, forge(honest, other)) for name, forge in FORGED.items()}
    assert {name: answer.status for name, answer in answers.items()} == dict.fromkeys(FORGED, 403)
    assert stored(site) == before
    assert send(site, route, target, honest).status != 403


def return_of_a_login_without_a_cookie(site: World, route: Route) -> None:
    """Nothing rides on a cookie here; what a form of another site can send is not JSON."""
    answer = site.ask(route.method, route.path, {"Content-Type": "text/plain"}, b'{"user": "a", "password": "b"}')
    assert answer.status == 415


def send(world: World, route: Route, target: str, headers: dict[str, str]) -> Answer:
    if route.kind == "page":
        token = headers.get("Orchestra-CSRF", "")
        form = f"csrf={'%C3%BC' if not token.isascii() else token}".encode()
        sent = {name: value for name, value in headers.items() if name != "Orchestra-CSRF"}
        return world.ask(route.method, target, {**sent, "Content-Type": "application/x-www-form-urlencoded"}, form)
    return world.ask(route.method, target, {**headers, "Content-Type": "application/json"}, b"{}")


def test_req_S_11_an_own_origin_serves_where_the_browser_names_no_site(world: World) -> None:
    world.user("ada", alpha="operator")
    headers = without_site(of_session(world.login("ada")))
    path = "/api/v1/projects/alpha/jobs/test/runs"
    assert world.send("POST", path, {**headers, "Origin": f"http://{HOST}"}, {}).status == 201


def test_req_S_11_a_request_with_a_token_ignores_cookies(world: World) -> None:
    world.user("root", ["administrator"])
    cookie = {"Cookie": of_session(world.login("root"))["Cookie"], "Sec-Fetch-Site": "cross-site"}
    viewer = world.user("ada", alpha="viewer")
    assert world.ask("GET", "/api/v1/me", {**cookie, **viewer}).document["name"] == "ada"
    operator = world.user("bob", alpha="operator")
    assert world.send("POST", "/api/v1/projects/alpha/jobs/test/runs", {**cookie, **operator}, {}).status == 201
    assert world.ask("GET", "/api/v1/me", {**cookie, **bearer("nonsense")}).status == 401


# ---- S-06, S-07, S-09


def browser_login(site: World, name: str, cookies: str = "", scheme: str = "http") -> Answer:
    page = ask(site.app, "GET", "/login", {"Cookie": cookies} if cookies else {}, scheme=scheme)
    token = re.search(rb'name="csrf" value="([0-9a-f]{64})"', page.body)
    assert token is not None
    jar = "; ".join([*(value.partition(";")[0] for value in page.all("Set-Cookie")), *([cookies] if cookies else [])])
    headers = {
        "Cookie": jar,
        "Sec-Fetch-Site": "same-origin",
        "Content-Type": "application/x-www-form-urlencoded",
    }
    form = f"csrf={token[1].decode()}&user={name}&password={PASSWORD.replace(' ', '+')}".encode()
    return ask(site.app, "POST", "/login", headers, form, scheme=scheme)


def session_cookie(answer: Answer) -> str:
    return next(value for value in answer.all("Set-Cookie") if "session=" in value)


def test_req_S_09_over_loopback_the_cookie_has_no_prefix(site: World) -> None:
    site.accounts.add_user("ada", PASSWORD)
    cookie = session_cookie(browser_login(site, "ada"))
    assert re.fullmatch(r"session=[0-9a-f]{64}; Path=/; HttpOnly; SameSite=Lax; Max-Age=\d+", cookie)


def test_a_browser_is_known_from_an_earlier_login_for_as_long_as_its_cookie_proves_it(site: World) -> None:
    site.accounts.add_user("ada", PASSWORD)
    (seen,) = (value for value in browser_login(site, "ada").all("Set-Cookie") if value.startswith("seen="))
    assert seen.endswith(f"Max-Age={int(SEEN_LIFE.total_seconds())}")


def test_req_S_09_over_https_the_cookie_is_bound_to_this_host(site: World) -> None:
    site.accounts.add_user("ada", PASSWORD)
    answer = browser_login(site, "ada", scheme="https")
    cookie = session_cookie(answer)
    assert re.fullmatch(r"__Host-session=[0-9a-f]{64}; Path=/; HttpOnly; SameSite=Lax; Secure; Max-Age=\d+", cookie)
    assert all("Secure" in value and "HttpOnly" in value for value in answer.all("Set-Cookie"))
    plain = cookie.partition(";")[0].removeprefix("__Host-")
    assert ask(site.app, "GET", "/api/v1/me", {"Cookie": plain}, scheme="https").status == 401
    assert answer.header("Strict-Transport-Security") is not None


def test_req_S_09_a_handler_cannot_give_a_session_to_plain_http_beyond_loopback(tmp_path: Path) -> None:
    from appliance.web.routes import Cookie, nothing

    def careless(request: Request, parts: Parts) -> Response:
        return nothing().with_cookies(Cookie("session", "secret"))

    world = World(tmp_path, routes=[Route("GET", "/careless", careless, "public")])
    answer = ask(world.app, "GET", "/careless", {"Host": "ci.example.org"})
    assert (answer.status, answer.all("Set-Cookie")) == (403, [])
    world.logs.close()


def test_req_S_06_a_login_ends_the_session_before_it(site: World) -> None:
    site.accounts.add_user("ada", PASSWORD)
    first = session_cookie(browser_login(site, "ada")).partition(";")[0]
    assert site.ask("GET", "/api/v1/me", {"Cookie": first}).status == 200
    login = site.accounts.principal_of_session(first.partition("=")[2])[1]
    headers = {"Cookie": first, "Sec-Fetch-Site": "same-origin", "Content-Type": "application/x-www-form-urlencoded"}
    form = f"csrf={login.csrf}&user=ada&password={PASSWORD.replace(' ', '+')}".encode()
    second = session_cookie(site.ask("POST", "/login", headers, form)).partition(";")[0]
    assert second != first
    assert site.ask("GET", "/api/v1/me", {"Cookie": first}).status == 401
    assert site.ask("GET", "/api/v1/me", {"Cookie": second}).status == 200


def test_req_S_06_a_session_that_an_attacker_planted_is_never_used(site: World) -> None:
    site.accounts.add_user("ada", PASSWORD)
    planted = "session=" + "ab" * 32
    cookie = session_cookie(browser_login(site, "ada", planted)).partition(";")[0]
    assert cookie != planted
    assert site.ask("GET", "/api/v1/me", {"Cookie": planted}).status == 401


def test_req_S_06_a_logout_ends_the_session_on_the_server(site: World) -> None:
    site.user("ada")
    headers = of_session(site.login("ada"))
    token = headers["Orchestra-CSRF"]
    form = {**headers, "Content-Type": "application/x-www-form-urlencoded"}
    answer = site.ask("POST", "/logout", form, f"csrf={token}".encode())
    assert answer.status == 303
    assert "Max-Age=0" in session_cookie(answer)
    assert site.ask("GET", "/api/v1/me", headers).status == 401


# ---- S-10, S-14


def crawl(site: World, headers: dict[str, str]) -> dict[str, Answer]:
    """Every GET route, as it is, and as nobody, as something missing, with a bad query."""
    cast = Cast(site)
    answers = {}
    for route in ROUTES:
        if route.method == "GET":
            target = fill(route.path, cast, site)
            answers[target] = site.ask("GET", target, headers)
            answers[target + "?x=%ff"] = site.ask("GET", target + "?x=%ff", headers)
            answers[target + " (nobody)"] = site.ask("GET", target)
            answers[target + " (post)"] = site.ask("POST", target, headers)
    for target in ("/nothing", "/api/v1/nothing", "/p/none", "/%ff", "/a%00b", "/static/x/y"):
        answers[target] = site.ask("GET", target, {**headers, "Accept": "text/html"})
    return answers


def test_req_S_14_every_answer_has_the_headers(site: World) -> None:
    site.user("root", ["administrator"])
    answers = crawl(site, of_session(site.login("root")))
    assert {answer.status for answer in answers.values()} >= {200, 303, 400, 401, 403, 404}
    for target, answer in answers.items():
        for name, value in HEADERS.items():
            found = answer.all(name)
            assert len(found) == 1, (target, name)
            if name == "Content-Security-Policy" and answer.header("Content-Disposition") is not None:
                assert found[0].startswith("sandbox")
            elif name != "Cache-Control":
                assert found == [value], (target, name)
        assert "unsafe" not in (answer.header("Content-Security-Policy") or "")
        assert answer.header("Server") is None


def test_req_S_14_the_policy_is_the_strict_one() -> None:
    directives = dict(part.partition(" ")[::2] for part in CONTENT_POLICY.split("; "))
    assert directives == {
        "default-src": "'none'",
        **dict.fromkeys(("script-src", "style-src", "img-src", "font-src", "connect-src", "form-action"), "'self'"),
        "base-uri": "'none'",
        "frame-ancestors": "'none'",
        "require-trusted-types-for": "'script'",
    }


def test_req_S_14_only_static_files_may_be_kept_by_browsers(site: World) -> None:
    site.user("root", ["administrator"])
    for target, answer in crawl(site, of_session(site.login("root"))).items():
        is_kept = answer.header("Cache-Control") != "no-store"
        assert is_kept == (target.startswith("/static/") and answer.status == 200), target


def test_req_S_10_no_get_changes_anything(site: World) -> None:
    site.user("root", ["administrator"])
    headers = of_session(site.login("root"))
    cast = Cast(site)
    before = stored(site)
    for route in ROUTES:
        if route.method == "GET":
            assert site.ask("GET", fill(route.path, cast, site), headers).status < 500
            assert stored(site) == before, rule_of(route)


# ---- S-17, S-54


@pytest.mark.parametrize("place", ["/p/{}", "/api/v1/runs/{}", "/api/v1/users/{}", "/login?next={}", "/static/{}/x"])
@pytest.mark.parametrize("text", ["%0d%0aSet-Cookie:a=b", "%0aX:y", "a%0db", "%00"])
def test_req_S_17_line_breaks_never_reach_a_header(site: World, place: str, text: str) -> None:
    answer = site.ask("GET", place.format(text), site.user("root", ["administrator"]))
    assert answer.status in (200, 400, 404)
    assert all("\r" not in value and "\n" not in value for _, value in answer.headers)
    assert not any("a=b" in value for value in answer.all("Set-Cookie"))


def test_req_S_17_a_header_that_cannot_be_is_400_and_not_500(tmp_path: Path) -> None:
    def broken(request: Request, parts: Parts) -> Response:
        return content(b"", "text/plain", {"X-Name": "a\r\nb"})

    world = World(tmp_path, routes=[Route("GET", "/broken", broken, "public")])
    assert world.ask("GET", "/broken").status == 400
    world.logs.close()


@pytest.mark.parametrize(
    "target",
    ["//evil.example", "/\\evil.example", "https://evil.example", "", "/a\nb", "/" + "a" * 3000, "javascript:alert(1)"],
)
def test_req_S_17_a_redirect_leads_only_to_our_own_paths(target: str) -> None:
    with pytest.raises(NotFound):
        redirect(target)


def test_pages_lead_nobody_to_the_login_and_back(site: World) -> None:
    answer = site.ask("GET", "/runs?status=failed&page=%2F")
    assert answer.header("Location") == "/login?next=%2Fruns%3Fstatus%3Dfailed%26page%3D%252F"
    assert site.ask("GET", "//evil.example/p/x").header("Location") is None


def test_req_S_54_the_unforeseen_is_an_id_in_the_answer_and_in_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def failing(request: Request, parts: Parts) -> Response:
        raise ZeroDivisionError("secret path /etc/shadow")

    world = World(tmp_path, routes=[Route("GET", "/failing", failing, "public")])
    with caplog.at_level(logging.ERROR):
        answer = world.ask("GET", "/failing")
    assert answer.status == 500
    assert b"shadow" not in answer.body
    assert b"Traceback" not in answer.body
    assert b"ZeroDivision" not in answer.body
    assert answer.document["error_id"] in caplog.text
    assert answer.header("Content-Security-Policy") == CONTENT_POLICY
    world.logs.close()


@pytest.mark.parametrize("host", ["a b", "evil.example/path", "x@y", "\u00fcmlaut", "a" * 300, "a\\b", "<script>"])
def test_a_host_header_that_no_honest_client_sends_is_400(world: World, host: str) -> None:
    assert world.ask("GET", "/health", {"Host": host}).status == 400


def test_req_S_01_a_route_without_a_handlers_own_check_is_closed(tmp_path: Path) -> None:
    def reached(request: Request, parts: Parts) -> Response:
        raise AssertionError("the gate let it through")

    world = World(tmp_path, routes=[Route("GET", "/x/<project>", reached, Right.READ, "project")])
    assert world.ask("GET", "/x/alpha").status == 401
    assert world.ask("GET", "/x/alpha", world.user("ada", beta="editor")).status == 404
    world.logs.close()


# ---- S-12, the handshake of the event socket


def handshake(**headers: str) -> Head:
    return Head("http", "127.0.0.1", {"host": HOST, **{name.replace("_", "-"): text for name, text in headers.items()}})


def test_req_S_12_the_event_socket_takes_a_token_or_a_session_of_our_own_pages(world: World) -> None:
    token = world.user("ada")["Authorization"]
    login = world.login("ada")
    cookie = f"session={login.cookie}"

    def admit(**headers: str) -> Any:
        return authenticate_socket(world.accounts, WebSettings(), handshake(**headers))

    assert admit(authorization=token).principal.name == "ada"
    assert admit(authorization=token).session is None
    assert admit(cookie=cookie, origin=f"http://{HOST}").session.id == login.session.id
    behind_tls = WebSettings(base_url="https://ci.example.org")
    page = handshake(cookie=f"__Host-{cookie}", origin="https://ci.example.org")
    assert authenticate_socket(world.accounts, behind_tls, page).session == login.session
    for bad in (
        {"cookie": cookie},
        {"cookie": cookie, "origin": "https://evil.example"},
        {"cookie": cookie, "origin": "null"},
        {"authorization": token, "origin": "https://evil.example"},
    ):
        with pytest.raises(Forbidden):
            admit(**bad)
    _, worker_token = world.workers.create("w1", "ada")
    for bad in ({}, {"authorization": "Bearer nonsense"}, {"authorization": f"Bearer {worker_token}"}):
        with pytest.raises(Unauthenticated):
            admit(**bad)
