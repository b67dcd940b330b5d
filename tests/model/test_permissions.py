"""Who may do what, against the rights table of security.md section 7 written out by hand."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.model.errors import Invalid
from appliance.model.permissions import (
    ANONYMOUS,
    PROJECT_RIGHTS,
    PROJECT_ROLES,
    SITE_RIGHTS,
    SITE_ROLES,
    SYSTEM,
    Kind,
    Principal,
    Right,
    check_project_role,
    check_site_roles,
    may,
    visible_projects,
)

HERE, ELSEWHERE = "website", "other"


def user(*site_roles: str, **project_roles: str) -> Principal:
    return Principal(Kind.USER, "ann", frozenset(site_roles), project_roles)


RUN = Principal(Kind.RUN, "r1", run_id="r1", run_project=HERE)
WORKER = Principal(Kind.WORKER, "builder", worker_id="w1", token_id="t1")
PRINCIPALS = {
    "anonymous": ANONYMOUS,
    "no role": user(),
    "viewer": user(website="viewer"),
    "operator": user(website="operator"),
    "editor": user(website="editor"),
    "auditor": user("auditor"),
    "administrator": user("administrator"),
    "worker": WORKER,
    "run": RUN,
    "viewer elsewhere": user(other="viewer"),
    "operator elsewhere": user(other="operator"),
    "editor elsewhere": user(other="editor"),
}
# One row a right: everybody who has it, in the project HERE.
TABLE: dict[Right, str] = {
    Right.READ: "viewer operator editor auditor administrator",
    Right.TRIGGER: "operator editor administrator",
    Right.CONTROL: "operator editor administrator",
    Right.WRITE_RESULTS: "operator editor administrator",
    Right.SWITCH: "editor administrator",
    Right.WRITE_SECRETS: "editor administrator",
    Right.READ_WORKERS: (
        "viewer operator editor auditor administrator viewer_elsewhere operator_elsewhere editor_elsewhere"
    ),
    Right.MANAGE_WORKERS: "administrator",
    Right.MANAGE_USERS: "administrator",
    Right.READ_AUDIT: "auditor administrator",
    Right.QUERY: "viewer operator editor auditor administrator viewer_elsewhere operator_elsewhere editor_elsewhere",
    Right.READ_METRICS: "auditor administrator",
    Right.OWN_ACCOUNT: (
        "no_role viewer operator editor auditor administrator viewer_elsewhere operator_elsewhere editor_elsewhere"
    ),
    Right.CONNECT_WORKER: "worker",
}


@pytest.mark.parametrize(("name", "right"), [*itertools.product(PRINCIPALS, Right)])
def test_req_S_01_every_cell_of_the_rights_table(name: str, right: Right) -> None:
    expected = name.replace(" ", "_") in TABLE[right].split()
    assert may(PRINCIPALS[name], right, HERE) is expected


def test_req_S_01_every_right_is_a_project_right_or_a_site_right() -> None:
    assert set(Right) == PROJECT_RIGHTS | SITE_RIGHTS and not PROJECT_RIGHTS & SITE_RIGHTS
    assert set(TABLE) == set(Right)


def test_req_S_02_project_roles_say_nothing_about_the_site_or_another_project() -> None:
    for role, right in itertools.product(PROJECT_ROLES, PROJECT_RIGHTS):
        assert not may(user(website=role), right)
        assert not may(user(website=role), right, ELSEWHERE)
        assert not may(user(website=role), right, HERE.upper())
    for right in PROJECT_RIGHTS:
        assert may(user("administrator"), right)
        assert may(user("auditor"), right) is (right is Right.READ)


def test_req_U2_roles_add_up() -> None:
    both = user("auditor", website="operator")
    assert may(both, Right.READ, ELSEWHERE) and may(both, Right.TRIGGER, HERE)
    assert not may(both, Right.TRIGGER, ELSEWHERE)


@pytest.mark.parametrize("role", ["Administrator", "admin", "administrator ", "administratorx", "", "operator", "*"])
def test_defect_J37_a_word_that_is_no_site_role_gives_nothing_and_is_refused(role: str) -> None:
    given_nothing = user()
    for right in Right:
        assert may(user(role), right, HERE) is may(given_nothing, right, HERE)
    with pytest.raises(Invalid, match="no site role"):
        check_site_roles([role, "auditor"])


@pytest.mark.parametrize("role", ["Viewer", "view", "viewer operator", "", "administrator", "auditor", "worker"])
def test_defect_J37_a_word_that_is_no_project_role_gives_nothing_and_is_refused(role: str) -> None:
    given_nothing = user()
    for right in Right:
        assert may(user(website=role), right, HERE) is may(given_nothing, right, HERE)
    assert visible_projects(user(website=role)) == frozenset()
    with pytest.raises(Invalid, match="no project role"):
        check_project_role(role)


def test_known_roles_are_accepted() -> None:
    assert check_site_roles(["auditor", "administrator"]) == SITE_ROLES
    assert check_site_roles([]) == frozenset()
    assert [check_project_role(role) for role in PROJECT_ROLES] == list(PROJECT_ROLES)


def test_defect_J41_a_worker_token_opens_nothing_but_the_worker_socket() -> None:
    powerful = Principal(Kind.WORKER, "w", SITE_ROLES, {HERE: "editor"}, worker_id="w1")
    assert [right for right in Right if may(powerful, right, HERE, run_id="r1", parent="r0")] == [Right.CONNECT_WORKER]
    assert visible_projects(powerful) == frozenset()


def test_req_S_84_a_run_token_reads_its_run_and_writes_its_results() -> None:
    rights = {right for right in Right if may(RUN, right, HERE, run_id="r1", parent="r0")}
    assert rights == {Right.READ, Right.WRITE_RESULTS}
    assert not any(may(RUN, right, ELSEWHERE, run_id="r1") for right in Right)


def test_req_S_84_a_run_token_reads_and_ends_its_children_and_no_other_run() -> None:
    rights = {right for right in Right if may(RUN, right, HERE, run_id="r2", parent="r1")}
    assert rights == {Right.READ, Right.CONTROL}
    for parent in (None, "r0", "r2"):
        assert not any(may(RUN, right, HERE, run_id="r2", parent=parent) for right in Right)


def test_req_S_84_a_run_token_lists_nothing_and_triggers_nothing() -> None:
    assert visible_projects(RUN) == frozenset()
    for right in Right:
        assert not may(RUN, right) and not may(RUN, right, HERE)
    nobody = Principal(Kind.RUN, "?", run_project=HERE)
    assert not any(may(nobody, right, HERE, run_id=None, parent=None) for right in Right)


def test_anonymous_has_no_right_whatever_it_claims() -> None:
    liar = Principal(Kind.ANONYMOUS, "root", SITE_ROLES, {HERE: "editor"}, run_id="r1", run_project=HERE, worker_id="w")
    assert not any(may(liar, right, HERE, run_id="r1", parent="r1") for right in Right)
    assert visible_projects(liar) == frozenset()


def test_the_appliance_itself_may_everything_but_be_a_worker() -> None:
    assert {right for right in Right if not may(SYSTEM, right, HERE)} == {Right.CONNECT_WORKER}
    assert visible_projects(SYSTEM) is None


def test_req_S_02_a_list_shows_the_projects_that_may_be_read_and_no_other() -> None:
    assert visible_projects(user("administrator")) is None
    assert visible_projects(user("auditor", website="viewer")) is None
    assert visible_projects(user(website="viewer", api="editor")) == frozenset({"website", "api"})
    assert visible_projects(user()) == frozenset()
    assert visible_projects(ANONYMOUS) == frozenset()


projects = st.sampled_from([HERE, ELSEWHERE, "third"])
users = st.builds(
    lambda site, roles: Principal(Kind.USER, "ann", site, roles),
    st.frozensets(st.sampled_from(sorted(SITE_ROLES))),
    st.dictionaries(projects, st.sampled_from(PROJECT_ROLES), max_size=3),
)


@settings(max_examples=300, deadline=None)
@given(
    users, st.sampled_from(list(Right)), projects, st.sampled_from(sorted(SITE_ROLES)), st.sampled_from(PROJECT_ROLES)
)
def test_req_U2_a_further_or_higher_role_never_takes_a_right_away(
    one: Principal, right: Right, project: str, site_role: str, role: str
) -> None:
    before = may(one, right, project)
    more_site = Principal(one.kind, one.name, one.site_roles | {site_role}, one.project_roles)
    rank = PROJECT_ROLES.index
    highest = max(one.project_roles.get(project, role), role, key=rank)
    higher = Principal(one.kind, one.name, one.site_roles, {**one.project_roles, project: highest})
    assert may(more_site, right, project) >= before
    assert may(higher, right, project) >= before
    assert may(one, right, project) >= may(one, right)


@settings(max_examples=300, deadline=None)
@given(users, projects)
def test_req_S_02_what_is_listed_is_what_may_be_read(one: Principal, project: str) -> None:
    visible = visible_projects(one)
    assert (visible is None or project in visible) is may(one, Right.READ, project)
    # what may not be seen may not be changed either: 404 and never 403
    if not may(one, Right.READ, project):
        assert not any(may(one, right, project) for right in PROJECT_RIGHTS)
