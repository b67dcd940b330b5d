"""What a login costs and how it is limited, and which passwords are taken (security.md 4)."""

from __future__ import annotations

import hashlib
import threading
from datetime import timedelta

import msgspec
import pytest

from appliance.model.entities import User
from appliance.model.errors import Conflict, Invalid, Throttled, Unauthenticated, Unavailable
from appliance.model.passwords import hash_password
from appliance.model.permissions import Kind
from appliance.passwords import HashingPool, PasswordLimits, common_passwords
from tests.account_place import HERE, PASSWORD, Place


@pytest.fixture
def place() -> Place:
    made = Place()
    made.accounts.add_user("root", PASSWORD, ["administrator"])
    made.accounts.add_user("ada", PASSWORD, (), {"website": "operator"})
    return made


# ---- login


def test_the_right_password_opens_a_session(place: Place) -> None:
    login = place.accounts.login("ada", PASSWORD, HERE, "a browser")
    principal, session = place.accounts.principal_of_session(login.cookie)
    assert (principal.kind, principal.name, principal.project_roles) == (Kind.USER, "ada", {"website": "operator"})
    assert (session.user, session.address, session.agent) == ("ada", HERE, "a browser")
    assert len(login.cookie) == 64


def test_req_S_07_only_the_hash_of_a_session_is_stored(place: Place) -> None:
    login = place.accounts.login("ada", PASSWORD, HERE)
    assert login.cookie not in repr(place.repository.accounts.sessions("ada"))


@pytest.mark.parametrize(
    ("user", "password"),
    [
        ("ada", "wrong"),
        ("ada", ""),
        ("ada", PASSWORD + "\n"),
        ("ada", "a" * 1025),
        ("ada", "\ud800"),
        ("ADA", PASSWORD),
        ("nobody", PASSWORD),
        ("", PASSWORD),
        ("a" * 10_000, PASSWORD),
    ],
)
def test_anything_else_is_refused_in_the_same_words(place: Place, user: str, password: str) -> None:
    with pytest.raises(Unauthenticated, match="the user or the password is wrong"):
        place.accounts.login(user, password, HERE)


def test_defect_J34_a_disabled_user_has_no_login_no_session_and_no_token(place: Place) -> None:
    login = place.accounts.login("ada", PASSWORD, HERE)
    text, _ = place.accounts.create_token("ada")
    place.accounts.change_user("ada", is_enabled=False)
    with pytest.raises(Unauthenticated):
        place.accounts.principal_of_session(login.cookie)
    with pytest.raises(Unauthenticated):
        place.accounts.principal_of_token(text)
    with pytest.raises(Unauthenticated):
        place.accounts.login("ada", PASSWORD, HERE)
    with pytest.raises(Unauthenticated):
        place.accounts.login_for_token("ada", PASSWORD, HERE)
    with pytest.raises(Conflict):
        place.accounts.create_token("ada")
    place.accounts.change_user("ada", is_enabled=True)
    assert place.accounts.principal_of_token(text).name == "ada"
    with pytest.raises(Unauthenticated):
        place.accounts.principal_of_session(login.cookie)


def test_defect_J28_an_unknown_user_costs_the_same_hashing(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    work: list[int] = []
    real = hashlib.pbkdf2_hmac

    def counted(name: str, password: bytes, salt: bytes, iterations: int, length: int | None = None) -> bytes:
        work.append(iterations)
        return real(name, password, salt, iterations, length)

    monkeypatch.setattr(hashlib, "pbkdf2_hmac", counted)
    place.accounts.add_user("tokens-only")
    place.accounts.add_user("off", PASSWORD)
    place.accounts.change_user("off", is_enabled=False)
    work.clear()
    for user in ("ada", "nobody", "tokens-only", "off"):
        with pytest.raises(Unauthenticated):
            place.accounts.login(user, "a wrong password", HERE)
    assert work == [1000] * 4


def test_imported_hashes_with_other_parameters_keep_working(place: Place) -> None:
    old = hash_password("short", b"salt", 500)
    place.repository.accounts.add_user(User("old", place.clock.now(), password_hash=old))
    assert place.accounts.login("old", "short", HERE).session.user == "old"


def test_req_S_62_ten_logins_a_minute_per_address_and_five_at_once() -> None:
    place = Place(PasswordLimits(iterations=10))
    place.accounts.add_user("ada", PASSWORD)
    for _ in range(5):
        place.accounts.login("ada", PASSWORD, HERE)
    with pytest.raises(Throttled) as caught:
        place.accounts.login("ada", PASSWORD, HERE)
    assert caught.value.retry_after == pytest.approx(6)
    place.accounts.login("ada", PASSWORD, "192.0.2.2")
    place.clock.advance(6)
    place.accounts.login("ada", PASSWORD, HERE)
    with pytest.raises(Throttled):
        place.accounts.login("ada", PASSWORD, HERE)


def test_req_S_62_ipv6_is_counted_by_its_64_and_mapped_ipv4_as_ipv4() -> None:
    place = Place(PasswordLimits(iterations=10))
    place.accounts.add_user("ada", PASSWORD)
    for number in range(5):
        place.accounts.login("ada", PASSWORD, f"2001:db8::{number}")
    with pytest.raises(Throttled):
        place.accounts.login("ada", PASSWORD, "2001:db8:0:0:ffff::1")
    place.accounts.login("ada", PASSWORD, "2001:db8:0:1::1")
    for _ in range(5):
        place.accounts.login("ada", PASSWORD, f"::ffff:{HERE}")
    with pytest.raises(Throttled):
        place.accounts.login("ada", PASSWORD, HERE)


def test_req_S_62_wrong_passwords_delay_an_account_and_never_lock_it(place: Place) -> None:
    delays = []
    for _ in range(8):
        with pytest.raises(Unauthenticated):
            place.accounts.login("ada", "a wrong password", HERE)
        try:
            place.accounts.login("ada", "a wrong password", HERE)
        except Throttled as error:
            delays.append(error.retry_after)
            place.clock.advance(error.retry_after)
        except Unauthenticated:
            delays.append(0.0)
            place.clock.advance(1)
    assert delays == [0.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0]
    assert place.accounts.login("ada", PASSWORD, HERE)
    with pytest.raises(Unauthenticated):
        place.accounts.login("ada", "a wrong password", HERE)
    assert place.accounts.login("ada", PASSWORD, HERE)


def test_the_delay_of_an_unknown_user_is_the_same(place: Place) -> None:
    for _ in range(2):
        with pytest.raises(Unauthenticated):
            place.accounts.login("nobody", "a wrong password", HERE)
    with pytest.raises(Throttled):
        place.accounts.login("nobody", "a wrong password", HERE)


def test_a_browser_that_was_seen_before_is_not_delayed_by_others(place: Place) -> None:
    seen = place.accounts.login("ada", PASSWORD, HERE).seen
    for _ in range(2):
        with pytest.raises(Unauthenticated):
            place.accounts.login("ada", "a wrong password", "198.51.100.1")
    with pytest.raises(Throttled):
        place.accounts.login("ada", PASSWORD, HERE)
    for forged in (None, "", seen[:-1] + "0", "9" + seen, seen.replace(".", "\u0661."), "." + seen):
        with pytest.raises(Throttled):
            place.accounts.login("ada", PASSWORD, HERE, seen_before=forged)
    assert place.accounts.login("ada", PASSWORD, HERE, seen_before=seen)


def test_seen_before_is_of_one_user_and_wears_out(place: Place) -> None:
    seen = place.accounts.login("root", PASSWORD, HERE).seen
    old = place.accounts.login("ada", PASSWORD, HERE).seen
    place.clock.advance(timedelta(days=181).total_seconds())
    for _ in range(2):
        with pytest.raises(Unauthenticated):
            place.accounts.login("ada", "a wrong password", HERE)
    for value in (seen, old):
        with pytest.raises(Throttled):
            place.accounts.login("ada", PASSWORD, HERE, seen_before=value)


def test_a_full_hashing_pool_refuses_at_once_and_keeps_a_slot_for_the_known() -> None:
    pool = HashingPool(cores=2, http_threads=8)
    inside, leave = threading.Semaphore(0), threading.Event()

    def hold() -> None:
        with pool.slot(known=False):
            inside.release()
            leave.wait(30)

    threads = [threading.Thread(target=hold) for _ in range(3)]
    for thread in threads:
        thread.start()
    assert inside.acquire(timeout=30)
    refused = _until_refused(pool)
    assert refused.retry_after == 2
    with pool.slot(known=True), pytest.raises(Unavailable), pool.slot(known=True):
        pass
    leave.set()
    for thread in threads:
        thread.join(30)
    with pool.slot(known=False):
        pass


def _until_refused(pool: HashingPool) -> Unavailable:
    """One hashes; the two that wait get there in their own time."""
    while True:
        try:
            if pool._room.acquire(timeout=0.01):
                pool._room.release()
            else:
                with pool.slot(known=False):
                    raise AssertionError("a fourth one got in")
        except Unavailable as error:
            return error


def test_req_S_08_the_list_has_3000_entries() -> None:
    assert len(common_passwords()) == 3000


@pytest.mark.parametrize(
    "password",
    [
        "elevenchars",
        "",
        "password1234",
        "PASSWORDPASSWORD",
        "1qaz2wsx3edc",
        "aaaaaaaaaaaaaaaa",
        "121212121212",
        "!!!Dragon2024!!!",
        "monkeymonkeymonkey",
        "orchestra2026!",
        "my-eve-9",
        "a" * 1025,
        "evelyn-evelyn\ud800",
    ],
)
def test_req_S_08_a_password_that_others_would_guess_is_refused(place: Place, password: str) -> None:
    with pytest.raises(Invalid) as caught:
        place.accounts.add_user("evelyn", password)
    assert list(caught.value.errors) == ["password"]


@pytest.mark.parametrize(
    "password", [PASSWORD, "zwölf Zeichen", "k3 8Gh:qP0!x", "🐎🔋📎🪨🐎🔋📎🪨🪵🌊🔥🌪", "x" * 500 + "abcdef"]
)
def test_req_S_08_a_fine_password_is_accepted_whatever_it_is_made_of(place: Place, password: str) -> None:
    place.accounts.add_user("eve", password)
    assert place.accounts.login("eve", password, HERE)


def test_stored_passwords_name_their_algorithm_and_parameters(place: Place) -> None:
    stored = place.accounts.user("ada").password_hash
    assert stored is not None
    assert stored.startswith("$pbkdf2-sha256$i=1000$")
    assert msgspec.json.encode(place.accounts.users()).count(b"pbkdf2") == 2
