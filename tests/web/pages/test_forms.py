"""What the forms of the website do, sent as a browser without scripts sends them."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path

import pytest

from appliance.db.repository import RunFilter
from appliance.model.entities import Run
from appliance.model.errors import Conflict, Invalid
from appliance.model.run_state import Status
from appliance.web import forms
from appliance.web.pages.workers import _properties
from appliance.web.pieces import Field, Form
from tests.web.pages.site import PASSWORD, Browser, Site, add_project, make_site

TRIGGER = {
    "parameters.branch": "main",
    "parameters.jobs": "4",
    "parameters.clean": "false",
    "parameters.target": "debug",
    "parameters.ticket": "ABC-7",
}


def hidden(page: str, name: str) -> str:
    found = re.search(rf'name="{name}" value="([^"]*)"', page)
    assert found is not None
    return found[1]


def error_at(page: str, name: str) -> str:
    found = re.search(rf'id="\w+-{re.escape(name)}-error">([^<]*)<', page)
    return found[1] if found else ""


# ---- the way in


def test_a_login_leads_on_to_where_the_reader_wanted_to_go(site: Site) -> None:
    browser = site.browser()
    page = browser.get("/login?next=%2Fruns%3Fstatus%3Dfailed").text
    assert hidden(page, "next") == "/runs?status=failed"
    answer = browser.submit("/login", {"user": "ada", "password": PASSWORD, "next": "/runs?status=failed"})
    assert (answer.status, answer.header("Location")) == (303, "/runs?status=failed")
    assert browser.get("/").status == 200


@pytest.mark.parametrize(
    "next_path", ["https://evil.example", "//evil.example", "/\\evil.example", "javascript:x", "/a\nb"]
)
def test_req_S_17_a_login_leads_to_no_other_site(site: Site, next_path: str) -> None:
    answer = site.browser().submit("/login", {"user": "ada", "password": PASSWORD, "next": next_path})
    assert (answer.status, answer.header("Location")) == (303, "/")


@pytest.mark.parametrize(
    ("user", "password"), [("ada", "wrong password!"), ("nosuch", PASSWORD), ("", ""), ("x" * 99, "y")]
)
def test_a_wrong_login_says_the_same_for_everybody(site: Site, user: str, password: str) -> None:
    browser = site.browser()
    answer = browser.submit("/login", {"user": user, "password": password})
    assert answer.status == 401
    assert "The user or the password is wrong" in answer.text
    assert 'type="password" value=""' in answer.text
    assert "session" not in browser.cookies


def test_who_is_logged_in_is_led_past_the_login_page(site: Site) -> None:
    assert site.login().get("/login?next=/runs").header("Location") == "/runs"


def test_req_S_06_logout_ends_the_session_on_the_server(site: Site) -> None:
    browser = site.login()
    old = browser.cookies["session"]
    assert browser.submit("/logout", {}, page="/").header("Location") == "/login"
    browser.cookies["session"] = old
    assert browser.get("/").status == 303


def test_too_many_failures_are_answered_with_a_wait_and_the_form(site: Site) -> None:
    browser = site.browser()
    answers = [browser.submit("/login", {"user": "ada", "password": "wrong password!"}) for _ in range(4)]
    assert answers[-1].status == 429
    assert int(answers[-1].header("Retry-After")) >= 1
    assert 'name="password"' in answers[-1].text


def test_req_S_08_the_setup_link_makes_the_first_administrator_once(tmp_path: Path) -> None:
    site = make_site(tmp_path, users=())
    token = site.parts.accounts.make_setup_token()
    browser, path = site.browser(), f"/setup?token={token}"
    assert browser.get(path).header("Cache-Control") == "no-store"
    given = {"token": token, "name": "grace", "password": PASSWORD, "repeat": PASSWORD}
    weak = browser.submit("/setup", given | {"password": "short", "repeat": "short"}, page=path)
    assert weak.status == 422 and error_at(weak.text, "password")
    other = browser.submit("/setup", given | {"repeat": "another long password"}, page=path)
    assert other.status == 422 and error_at(other.text, "repeat") == "This is not the password above"
    named = browser.submit("/setup", given | {"name": "../x"}, page=path)
    assert named.status == 422 and PASSWORD not in named.text
    done = browser.submit("/setup", given, page=path)
    assert (done.status, done.header("Location")) == (303, "/")
    assert browser.get("/workers").status == 200  # logged in, and an administrator
    again = site.browser()
    assert again.get(path).status == 404
    assert again.submit("/setup", given | {"name": "mallory"}, page="/login").status == 401


@pytest.mark.parametrize("token", ["", "x", "orc_s_" + "0" * 70])
def test_a_setup_link_that_is_not_good_says_what_to_do(site: Site, token: str) -> None:
    answer = site.browser().get(f"/setup?token={token}")
    assert answer.status == 404 and "orchestra user setup-link" in answer.text


# ---- trigger


def trigger(browser: Browser, **fields: str) -> tuple[int, str, str]:
    page = browser.get("/p/website/test").text
    given = TRIGGER | {f"parameters.{key}": value for key, value in fields.items()} | {"key": hidden(page, "key")}
    answer = browser.submit("/p/website/test", given)
    return answer.status, answer.header("Location"), answer.text


def test_the_form_starts_a_run_with_typed_values_and_the_true_source(site: Site) -> None:
    status, location, _ = trigger(site.login("otto"), jobs="8", clean="true", target="release", branch="fix/1")
    assert (status, location) == (303, "/p/website/test/1")
    run = site.parts.runs.numbered("website", "test", "1")
    assert run.parameters == {"branch": "fix/1", "jobs": 8, "clean": True, "target": "release", "ticket": "ABC-7"}
    assert (run.source.type, run.source.user, run.source.via) == ("user", "otto", "website")


def test_a_refused_form_comes_back_filled_in_with_the_error_at_its_field(site: Site) -> None:
    browser = site.login()
    status, _, page = trigger(browser, jobs="many", ticket="<b>")
    assert status == 422
    assert error_at(page, "parameters.jobs") and 'value="many"' in page
    assert 'value="&lt;b&gt;"' in page
    status, _, page = trigger(browser, branch="my branch", clean="true", target="release")
    assert status == 422
    assert error_at(page, "parameters.branch") and 'value="my branch"' in page
    assert page.count(" selected>") == 2
    assert 'aria-invalid="true"' in page
    assert not site.parts.runs.find(RunFilter())


def test_req_C1_all_that_is_wrong_is_told_at_once_each_at_its_field_and_what_was_typed_stays(site: Site) -> None:
    status, _, page = trigger(site.login(), branch="my branch", jobs="many", clean="perhaps", target="other", ticket="")
    assert status == 422
    for key, told in {
        "branch": "Does not fit the pattern",
        "jobs": "Must be a whole number such as 42",
        "clean": "Must be true or false",
        "target": "Must be one of debug, release",
        "ticket": "Is required",
    }.items():
        assert error_at(page, f"parameters.{key}").startswith(told), key
    assert 'value="my branch"' in page and 'value="many"' in page
    assert page.count('aria-invalid="true"') == 5
    assert not site.parts.runs.find(RunFilter())


def test_fault_F16_a_full_disk_is_told_at_the_form_and_what_was_typed_stays(site: Site) -> None:
    browser = site.login()
    site.trial.room.used_up()
    answer = browser.submit("/p/website/test", {**TRIGGER, "parameters.ticket": "ABC-99"})
    assert (answer.status, answer.header("Retry-After")) == (507, "10")
    assert "disk has been full since" in answer.text and 'value="ABC-99"' in answer.text


def test_a_required_parameter_that_is_missing_is_named(site: Site) -> None:
    status, _, page = trigger(site.login(), ticket="")
    assert status == 422 and error_at(page, "parameters.ticket") == "Is required"


def test_a_field_that_the_job_does_not_have_is_refused(site: Site) -> None:
    answer = site.login().submit("/p/website/test", TRIGGER | {"parameters.other": "x"})
    assert answer.status == 422 and "other" in answer.text


def test_req_T5_a_form_that_is_sent_twice_starts_one_run(site: Site) -> None:
    browser = site.login()
    given = TRIGGER | {"key": hidden(browser.get("/p/website/test").text, "key")}
    first, second = (browser.submit("/p/website/test", given).header("Location") for _ in range(2))
    assert first == second == "/p/website/test/1"
    assert trigger(browser)[1] == "/p/website/test/2"  # a new form is a new wish


def test_the_same_form_with_other_values_is_a_conflict_that_is_told(site: Site) -> None:
    browser = site.login()
    key = {"key": hidden(browser.get("/p/website/test").text, "key")}
    browser.submit("/p/website/test", TRIGGER | key)
    answer = browser.submit("/p/website/test", TRIGGER | key | {"parameters.jobs": "5"})
    assert answer.status == 409 and "notice problem" in answer.text


def test_req_S_31_a_default_with_a_leading_dash_may_stay_and_may_not_be_typed(site: Site) -> None:
    flags = {"key": "flags", "default": "-O2"}
    add_project(site, [{"identifier": "c", "definition": {"commands": ["make"]}, "parameters": [flags]}])
    browser = site.login()
    assert browser.submit("/p/website/c", {"parameters.flags": "-O2"}).status == 303
    assert browser.submit("/p/website/c", {"parameters.flags": "-O3"}).status == 422


def test_secret_values_never_come_back(site: Site) -> None:
    parameters = [{"key": "password", "type": "secret"}, {"key": "n", "type": "int"}]
    add_project(site, [{"identifier": "s", "definition": {"commands": ["true"]}, "parameters": parameters}])
    answer = site.login().submit("/p/website/s", {"parameters.password": "hunter2-hunter2", "parameters.n": "x"})
    assert answer.status == 422 and "hunter2" not in answer.text


def test_viewers_cannot_trigger(site: Site) -> None:
    assert site.login("vera").submit("/p/website/test", TRIGGER, page="/me").status == 403


# ---- cancel and abort


def test_cancel_and_abort_say_what_happened(site: Site, runs: dict[Status, Run]) -> None:
    browser = site.login()
    pending, running = runs[Status.PENDING], runs[Status.RUNNING]
    here = f"/p/website/deploy/{pending.number}"
    assert browser.submit(f"{here}/cancel", {}, page=here).header("Location") == here
    assert "Cancelled by ada before it began." in browser.get(here).text
    assert "Cancelled by ada before it began." not in browser.get(here).text  # it is said once
    here = f"/p/website/test/{running.number}"
    assert browser.submit(f"{here}/abort", {}, page=here).header("Location") == here
    page = browser.get(here).text
    assert "Worker build-1 is told to end the run." in page and "ada asked to abort this run" in page
    assert "Abort run" not in page
    assert site.parts.runs.get(running.id).should_abort


def test_a_button_that_came_too_late_is_told_so(site: Site, runs: dict[Status, Run]) -> None:
    answer = site.login().submit("/p/website/test/2/abort", {}, page="/p/website/test")
    assert answer.status == 409 and "has ended already" in answer.text


# ---- workers


def test_req_S_85_a_new_workers_join_line_is_shown_once(site: Site) -> None:
    browser = site.login()
    answer = browser.submit("/workers", {"name": "build-2", "properties": "pool=linux\n gpu = true \n\n"})
    line = re.search(r"orchestra worker join http://localhost:8080 (orc_w_[0-9a-f]{70})", answer.text)
    assert answer.status == 200 and line is not None
    assert answer.header("Cache-Control") == "no-store"
    page = browser.get("/workers").text
    assert "build-2" in page and "never seen" in page and "orc_w_" not in page
    made = site.parts.workers.named("build-2").worker
    assert (made.owner, made.properties) == ("ada", {"pool": "linux", "gpu": True})


def test_req_O2_a_new_worker_may_be_left_to_systemd(site: Site) -> None:
    answer = site.login().submit("/workers", {"name": "build-2", "properties": ""})
    assert "as root, write <code>--systemd</code> behind the line above" in answer.text


@pytest.mark.parametrize(
    ("fields", "status", "field"),
    [
        ({"name": ""}, 422, "name"),
        ({"name": "../x"}, 422, "name"),
        ({"name": "new", "properties": "no mark"}, 422, "properties"),
        ({"name": "new", "properties": "=x"}, 422, "properties"),
        ({"name": "BUILD-1"}, 409, ""),
    ],
)
def test_a_worker_that_cannot_be_added_is_explained_in_the_form(
    site: Site, fields: dict[str, str], status: int, field: str
) -> None:
    answer = site.login().submit("/workers", fields)
    assert answer.status == status
    assert "notice problem" in answer.text
    assert (error_at(answer.text, field) != "") == bool(field)
    assert len(site.parts.workers.list()) == 1


def test_both_fields_of_a_new_worker_are_told_at_once(site: Site) -> None:
    answer = site.login().submit("/workers", {"name": "no such name", "properties": "pool"})
    assert answer.status == 422
    assert error_at(answer.text, "name") and error_at(answer.text, "properties")
    assert 'value="no such name"' in answer.text


def test_properties_are_read_line_by_line() -> None:
    assert _properties("a=1\r\nb = x = y\nc=false") == {"a": 1, "b": "x = y", "c": False}


def test_workers_are_disabled_enabled_and_removed_from_the_page(site: Site) -> None:
    browser = site.login()
    for action, word in (("disable", "disabled"), ("enable", "connected")):
        assert browser.submit(f"/workers/build-1/{action}", {}, page="/workers").status == 303
        assert f'class="state {word}"' in browser.get("/workers").text
    assert browser.submit("/workers/build-1/remove", {}, page="/workers").status == 303
    assert "There is no worker yet" in browser.get("/workers").text
    assert browser.submit("/workers/build-1/remove", {}, page="/workers").status == 404


# ---- me


def test_a_token_is_shown_once_works_and_can_be_revoked(site: Site) -> None:
    browser = site.login("vera")
    answer = browser.submit("/me/tokens", {"label": "laptop", "days": "30"}, page="/me")
    text = re.search(r"orc_u_[0-9a-f]{70}", answer.text)
    assert answer.status == 200 and text is not None
    assert site.parts.accounts.principal_of_token(text[0]).name == "vera"
    (token,) = site.parts.accounts.tokens("vera")
    assert token.expires_at == site.clock.now() + timedelta(days=30)
    page = browser.get("/me").text
    assert "laptop" in page and "orc_u_" not in page
    assert browser.submit(f"/me/tokens/{token.id}/revoke", {}, page="/me").status == 303
    assert not site.parts.accounts.tokens("vera")


def test_tokens_of_others_are_not_there(site: Site) -> None:
    _, token = site.parts.accounts.create_token("ada", "hers")
    assert site.login("vera").submit(f"/me/tokens/{token.id}/revoke", {}, page="/me").status == 404


@pytest.mark.parametrize(
    "fields", [{"label": "", "days": "30"}, {"label": "x", "days": "31"}, {"label": "x", "days": "-1"}]
)
def test_a_token_that_cannot_be_made_is_explained(site: Site, fields: dict[str, str]) -> None:
    answer = site.login().submit("/me/tokens", fields, page="/me")
    assert answer.status == 422 and "notice problem" in answer.text
    assert not site.parts.accounts.tokens("ada")
    assert f'value="{fields["label"]}"' in answer.text


def test_req_D4_jobs_and_projects_are_switched_off_and_on_from_their_pages(site: Site) -> None:
    browser = site.login()
    for place, action in (("/p/website", "/projects/website"), ("/p/website/test", "/p/website/test")):
        assert f'action="{action}/disable"' in browser.get(place).text
        assert browser.submit(f"{action}/disable", {}, page=place).header("Location") == place
        page = browser.get(place).text
        assert "is disabled: its runs wait" in page and '<span class="tag">disabled</span>' in page
        waiting = site.run("test")
        until = "project" if place == "/p/website" else "job"
        assert f"waits until its {until} is enabled" in browser.get(f"/p/website/test/{waiting.number}").text
        assert browser.submit(f"{action}/enable", {}, page=place).header("Location") == place
        assert "waits until" not in browser.get(f"/p/website/test/{waiting.number}").text
    assert "Disable" not in site.login("otto").get("/p/website/test").text
    assert site.login("otto").submit("/p/website/test/disable", {}, page="/me").status == 403


def test_req_S_06_a_new_password_ends_all_other_sessions_and_keeps_this_reader_in(site: Site) -> None:
    browser, other = site.login(), site.login()
    old, seen = browser.cookies["session"], browser.cookies["seen"]
    wrong = browser.submit(
        "/me/password", {"current": "wrong password!", "password": "quite another phrase"}, page="/me"
    )
    assert wrong.status == 422 and error_at(wrong.text, "current")
    weak = browser.submit("/me/password", {"current": PASSWORD, "password": "short"}, page="/me")
    assert weak.status in (422, 429)
    site.clock.advance(60)
    done = browser.submit("/me/password", {"current": PASSWORD, "password": "quite another phrase"}, page="/me")
    assert (done.status, done.header("Location")) == (303, "/me")
    assert browser.cookies["session"] != old and browser.cookies["seen"] != seen
    assert "Your password is changed." in browser.get("/me").text  # said to the session that has just begun
    assert browser.get("/me").status == 200 and other.get("/me").status == 303


def test_what_is_said_once_is_not_used_up_by_a_script_that_renews_a_page(site: Site) -> None:
    browser = site.login()
    browser.submit("/workers/build-1/disable", {}, page="/workers")
    said = "build-1 gets no new runs"
    assert said not in browser.get("/workers", x_requested_with="XMLHttpRequest").text
    assert said in browser.get("/workers").text
    assert said not in browser.get("/workers").text


def test_a_session_elsewhere_can_be_ended(site: Site) -> None:
    other, browser = site.login(), site.login()
    page = browser.get("/me").text
    (action,) = re.findall(r'action="(/me/sessions/[0-9a-f]+/end)"', page)
    assert "this one" in page
    assert browser.submit(action, {}, page="/me").status == 303
    assert other.get("/me").status == 303 and browser.get("/me").status == 200


# ---- forms.py


def test_errors_without_a_field_stand_above_the_form() -> None:
    form = Form("/x", "Go", (Field("parameters.a", "a"),))
    at_field = forms.refused(form, Invalid("wrong", {"parameters.a": "must be a text"}))
    assert (at_field.fields[0].error, at_field.problem) == ("Must be a text", "Please look at the marked field.")
    above = forms.refused(form, Invalid("wrong", {"parameters.b": "is not known"}))
    assert (above.fields[0].error, above.problem) == ("", "b: is not known")
    assert forms.refused(form, Conflict("it cannot run")).problem == "It cannot run"
