"""Accounts: sessions, tokens, users, the first administrator (security.md 2)."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import timedelta

import pytest

from appliance import accounts as module
from appliance.accounts import Accounts
from appliance.events import AccountChanged, Events, SessionsEnded
from appliance.model import tokens
from appliance.model.entities import NewRun, Session, Source, Token, User, Worker
from appliance.model.errors import Conflict, Full, Invalid, NotFound, Unauthenticated
from appliance.model.permissions import Kind
from tests.account_place import HERE, PASSWORD, Place


@pytest.fixture
def place() -> Place:
    made = Place()
    made.accounts.add_user("root", PASSWORD, ["administrator"])
    made.accounts.add_user("ada", PASSWORD, (), {"website": "operator"})
    return made


# ---- sessions


def test_req_S_07_a_session_ends_after_seven_days_without_use(place: Place) -> None:
    login = place.accounts.login("ada", PASSWORD, HERE)
    place.clock.advance(7 * 86400 - 1)
    place.accounts.principal_of_session(login.cookie)
    other = place.accounts.login("ada", PASSWORD, HERE)
    place.clock.advance(7 * 86400)
    with pytest.raises(Unauthenticated):
        place.accounts.principal_of_session(other.cookie)


def test_req_S_07_a_session_in_use_ends_after_thirty_days(place: Place) -> None:
    login = place.accounts.login("ada", PASSWORD, HERE)
    for _ in range(29):
        place.clock.advance(86400)
        place.accounts.principal_of_session(login.cookie)
    place.clock.advance(86400)
    with pytest.raises(Unauthenticated):
        place.accounts.principal_of_session(login.cookie)


def test_req_S_07_a_session_is_extended_once_a_day_only(place: Place) -> None:
    login = place.accounts.login("ada", PASSWORD, HERE)
    place.clock.advance(86399)
    _, session = place.accounts.principal_of_session(login.cookie)
    assert session == login.session
    place.clock.advance(1)
    _, session = place.accounts.principal_of_session(login.cookie)
    assert session.expires_at == login.session.expires_at + timedelta(days=1)
    assert place.accounts.principal_of_session(login.cookie)[1] == session


def test_fault_F16_whoever_is_known_is_known_while_nothing_can_be_stored(place: Place) -> None:
    login = place.accounts.login("ada", PASSWORD, HERE)
    text, _ = place.accounts.create_token("ada")
    place.clock.advance(86400)

    def refuse(*_: object) -> None:
        raise Full("the disk is full")

    store = place.repository.accounts
    store.extend_session = store.touch_token = refuse  # type: ignore[method-assign]  # a fault, made to happen
    principal, session = place.accounts.principal_of_session(login.cookie)
    assert (principal.name, session) == ("ada", login.session)
    assert place.accounts.principal_of_token(text).name == "ada"


@pytest.mark.parametrize(
    "change",
    [
        lambda accounts: accounts.set_password("ada", "another fine long pass phrase"),
        lambda accounts: accounts.change_user("ada", is_enabled=False),
        lambda accounts: accounts.change_user("ada", project_roles={}),
        lambda accounts: accounts.change_user("ada", site_roles=["auditor"]),
    ],
)
def test_req_S_07_a_change_of_the_user_ends_its_sessions_and_says_so(
    place: Place, change: Callable[[Accounts], User]
) -> None:
    logins = [place.accounts.login("ada", PASSWORD, HERE) for _ in range(2)]
    bystander = place.accounts.login("root", PASSWORD, HERE)
    place.seen.clear()
    change(place.accounts)
    for login in logins:
        with pytest.raises(Unauthenticated):
            place.accounts.principal_of_session(login.cookie)
    place.accounts.principal_of_session(bystander.cookie)
    ended = frozenset(login.session.id for login in logins)
    assert place.seen == [AccountChanged("ada"), SessionsEnded(ended)]


def test_req_S_06_a_login_that_a_change_of_the_password_overtakes_gives_no_session(place: Place) -> None:
    store = place.repository.accounts
    add = store.add_session

    def add_late(session: Session) -> None:
        place.accounts.set_password("ada", "another fine long pass phrase")
        add(session)

    store.add_session = add_late  # type: ignore[method-assign]  # the change comes between check and session
    with pytest.raises(Unauthenticated):
        place.accounts.login("ada", PASSWORD, HERE)
    assert place.accounts.sessions("ada") == []


@pytest.mark.parametrize("cookie", ["", "a" * 63, "g" * 64, "A" * 64, "a" * 64 + "\n", "\u0661" * 64, "a" * 64])
def test_a_cookie_that_we_did_not_make_is_refused(place: Place, cookie: str) -> None:
    with pytest.raises(Unauthenticated):
        place.accounts.principal_of_session(cookie)


def test_sessions_are_listed_and_ended_one_by_one(place: Place) -> None:
    login = place.accounts.login("ada", PASSWORD, HERE)
    assert [session.id for session in place.accounts.sessions("ada")] == [login.session.id]
    with pytest.raises(NotFound):
        place.accounts.end_session("root", login.session.id)
    place.accounts.end_session("ada", login.session.id)
    assert place.accounts.sessions("ada") == []


def test_defect_J42_a_password_change_and_the_end_of_the_sessions_are_one_write(place: Place) -> None:
    login = place.accounts.login("ada", PASSWORD, HERE)
    fresh = place.accounts.change_password("ada", PASSWORD, "another fine long pass phrase", HERE, login.session)
    assert fresh is not None
    assert fresh.session.id != login.session.id
    assert [session.id for session in place.accounts.sessions("ada")] == [fresh.session.id]
    with pytest.raises(Invalid) as caught:
        place.accounts.change_password("ada", PASSWORD, "yet another fine pass phrase", HERE, None)
    assert caught.value.errors == {"current": "this is not your current password"}


# ---- tokens


def test_a_token_speaks_for_its_user_until_it_is_revoked(place: Place) -> None:
    text, token = place.accounts.create_token("ada", "laptop")
    assert text.startswith("orc_u_")
    principal = place.accounts.principal_of_token(text)
    assert (principal.name, principal.token_id) == ("ada", token.id)
    with pytest.raises(NotFound):
        place.accounts.revoke_token("root", token.id)
    place.accounts.revoke_token("ada", token.id)
    assert AccountChanged("ada") in place.seen
    with pytest.raises(Unauthenticated):
        place.accounts.principal_of_token(text)


def test_a_token_is_stored_as_its_hash_only(place: Place) -> None:
    text, _ = place.accounts.create_token("ada")
    assert text[6:70] not in repr(vars(place.repository.accounts))


def test_an_imported_bare_token_is_accepted(place: Place) -> None:
    text, _ = place.accounts.create_token("ada")
    assert place.accounts.principal_of_token(text[6:70]).name == "ada"


def test_a_token_of_a_login_expires_after_a_week(place: Place) -> None:
    text, _ = place.accounts.login_for_token("ada", PASSWORD, HERE)
    place.clock.advance(7 * 86400 - 1)
    place.accounts.principal_of_token(text)
    place.clock.advance(1)
    with pytest.raises(Unauthenticated, match="expired"):
        place.accounts.principal_of_token(text)
    assert place.accounts.tokens("ada") == []


def test_a_token_that_would_be_dead_at_once_is_refused(place: Place) -> None:
    with pytest.raises(Invalid):
        place.accounts.create_token("ada", expires_at=place.clock.now())


def test_a_user_has_a_bounded_number_of_tokens(place: Place) -> None:
    for _ in range(module.TOKENS_PER_USER):
        place.accounts.create_token("ada")
    with pytest.raises(Conflict):
        place.accounts.create_token("ada")


def test_the_use_of_a_token_is_noted_at_most_once_a_minute(place: Place) -> None:
    text, token = place.accounts.create_token("ada")

    def used() -> Token:
        return next(one for one in place.accounts.tokens("ada") if one.id == token.id)

    place.accounts.principal_of_token(text)
    first = place.clock.now()
    assert (used().first_used_at, used().last_used_at) == (first, first)
    place.clock.advance(59)
    place.accounts.principal_of_token(text)
    assert used().last_used_at == first
    place.clock.advance(1)
    place.accounts.principal_of_token(text)
    assert (used().first_used_at, used().last_used_at) == (first, place.clock.now())


def _worker_token(place: Place) -> str:
    text, digest = place.accounts.mint("worker")
    worker = Worker(id="w-1", name="w1", owner="root", created_at=place.clock.now())
    token = Token(id="t-1", kind="worker", hash=digest, created_at=place.clock.now(), worker_id="w-1")
    assert place.repository.workers.add(worker, token)
    return text


def test_defect_J41_a_worker_token_opens_only_the_workers_door(place: Place) -> None:
    text = _worker_token(place)
    for shape in (text, text[6:70]):
        with pytest.raises(Unauthenticated):
            place.accounts.principal_of_token(shape)
    principal = place.accounts.principal_of_token(text, [Kind.WORKER])
    assert (principal.kind, principal.worker_id, principal.name) == (Kind.WORKER, "w-1", "w1")
    user, _ = place.accounts.create_token("ada")
    with pytest.raises(Unauthenticated):
        place.accounts.principal_of_token(user, [Kind.WORKER])


def test_a_token_with_the_letter_of_another_kind_is_refused(place: Place) -> None:
    secret = bytes.fromhex(_worker_token(place)[6:70])
    with pytest.raises(Unauthenticated):
        place.accounts.principal_of_token(tokens.render("user", secret), [Kind.USER, Kind.WORKER])


def test_req_S_85_a_worker_token_is_dead_if_it_was_not_used_within_a_day(place: Place) -> None:
    used, unused = Place(), Place()
    for one, is_used in ((used, True), (unused, False)):
        text = _worker_token(one)
        one.clock.advance(86400)
        if is_used:
            one.accounts.principal_of_token(text, [Kind.WORKER])
        one.clock.advance(1)
        if is_used:
            assert one.accounts.principal_of_token(text, [Kind.WORKER])
        else:
            with pytest.raises(Unauthenticated, match="within a day"):
                one.accounts.principal_of_token(text, [Kind.WORKER])


def test_req_S_84_a_run_token_is_derived_and_lives_as_long_as_its_run(place: Place) -> None:
    run_id = "12345678-1234-4234-8234-123456789abc"
    text = place.accounts.run_token(run_id)
    assert text == place.accounts.run_token(run_id)
    with pytest.raises(Unauthenticated):
        place.accounts.principal_of_token(text)
    new = NewRun(run_id, "website", "test", {}, Source("user"), "v1", place.clock.now())
    run, _ = place.repository.runs.add(new)
    principal = place.accounts.principal_of_token(text)
    assert (principal.kind, principal.run_id, principal.run_project) == (Kind.RUN, run_id, "website")
    other = Accounts(place.repository, place.clock, Events(), place.random, b"x" * 32, place.limits)
    with pytest.raises(Unauthenticated):
        other.principal_of_token(text)
    secret = bytearray.fromhex(text[6:70])
    secret[-1] ^= 1
    with pytest.raises(Unauthenticated):
        place.accounts.principal_of_token(tokens.render("run", bytes(secret)))
    assert run.id == run_id


# ---- users


def test_two_users_cannot_differ_only_in_case(place: Place) -> None:
    with pytest.raises(Conflict):
        place.accounts.add_user("Ada")


@pytest.mark.parametrize("role", ["admin", "Administrator", "administrator,auditor", "", "adm"])
def test_defect_J37_roles_are_a_closed_set_and_compared_whole(place: Place, role: str) -> None:
    with pytest.raises(Invalid):
        place.accounts.add_user("eve", None, [role])
    with pytest.raises(Invalid):
        place.accounts.change_user("ada", project_roles={"website": role})
    assert place.accounts.user("ada").project_roles == {"website": "operator"}


def test_the_last_administrator_stays(place: Place) -> None:
    with pytest.raises(Conflict):
        place.accounts.change_user("root", is_enabled=False)
    with pytest.raises(Conflict):
        place.accounts.change_user("root", site_roles=[])
    place.accounts.change_user("ada", site_roles=["administrator"])
    place.accounts.change_user("root", is_enabled=False)


def test_changes_of_one_user_from_many_threads_all_hold(place: Place) -> None:
    def change(number: int) -> None:
        roles = dict(place.accounts.user("ada").project_roles)
        place.accounts.change_user("ada", project_roles=roles | {f"p{number}": "viewer"})
        place.accounts.change_user("ada", is_enabled=True)

    threads = [threading.Thread(target=change, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert place.accounts.user("ada").version == 17


# ---- the first administrator


def test_req_S_08_a_setup_link_makes_the_first_administrator_once() -> None:
    place = Place()
    text = place.accounts.make_setup_token()
    assert text.startswith("orc_s_")
    place.accounts.check_setup_token(text)
    login = place.accounts.use_setup_token(text, "root", PASSWORD, HERE)
    principal, _ = place.accounts.principal_of_session(login.cookie)
    assert principal.site_roles == {"administrator"}
    with pytest.raises(Unauthenticated):
        place.accounts.use_setup_token(text, "eve", PASSWORD, HERE)
    with pytest.raises(Conflict):
        place.accounts.make_setup_token()
    assert [user.name for user in place.accounts.users()] == ["root"]


def test_req_S_08_a_setup_link_is_dead_after_a_day_and_opens_nothing_else() -> None:
    place = Place()
    text = place.accounts.make_setup_token()
    for kinds in ([Kind.USER], [Kind.USER, Kind.RUN, Kind.WORKER]):
        with pytest.raises(Unauthenticated):
            place.accounts.principal_of_token(text, kinds)
    place.clock.advance(86400)
    with pytest.raises(Unauthenticated):
        place.accounts.check_setup_token(text)
    with pytest.raises(Unauthenticated):
        place.accounts.use_setup_token(text, "root", PASSWORD, HERE)


def test_req_S_08_a_weak_password_does_not_use_up_the_link() -> None:
    place = Place()
    text = place.accounts.make_setup_token()
    with pytest.raises(Invalid):
        place.accounts.use_setup_token(text, "root", "root", HERE)
    assert place.accounts.use_setup_token(text, "root", PASSWORD, HERE)
