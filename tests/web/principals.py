"""The fourteen principals of security.md section 7, each with the headers it would send."""

from __future__ import annotations

from appliance.model.run_state import Assign
from appliance.web.head import Head
from appliance.web.security import FormTokens
from tests.web.world import HOST, KEY, World, bearer, of_session

VISITOR = "ab" * 32

ROLES: dict[str, tuple[list[str], dict[str, str]]] = {
    "no role": ([], {}),
    "viewer": ([], {"alpha": "viewer"}),
    "operator": ([], {"alpha": "operator"}),
    "editor": ([], {"alpha": "editor"}),
    "auditor": (["auditor"], {}),
    "administrator": (["administrator"], {}),
    "viewer elsewhere": ([], {"beta": "viewer"}),
    "operator elsewhere": ([], {"beta": "operator"}),
    "expired session": (["administrator"], {}),
    "disabled user": (["administrator"], {}),
    "revoked token": (["administrator"], {}),
}


class Cast:
    """Objects to ask for, and the headers of one principal."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.run = world.trigger("alpha")
        world.runs.advance(self.run.id, Assign(world.clock.now()))
        self.running = world.runs.get(self.run.id)
        _, self.worker_token = world.workers.create("w1", "root")
        world.accounts.add_user("target")
        world.accounts.add_user("keeper", None, ["administrator"])
        self.token_id = self.target_token_id = world.accounts.create_token("target")[1].id
        self.session_id = "0" * 64

    def headers(self, principal: str, *, is_page: bool) -> dict[str, str]:
        """What this principal sends: users a session to pages and a token to the service."""
        if principal == "anonymous":
            return visitor() if is_page else {}
        if principal == "worker token":
            return bearer(self.worker_token) | (visitor() if is_page else {})
        if principal == "run token":
            return bearer(self.world.accounts.run_token(self.run.id))
        site, projects = ROLES[principal]
        name = principal.replace(" ", "-")
        self.world.accounts.add_user(name, None, site, projects)
        if principal == "expired session" or (is_page and principal != "revoked token"):
            return self._session(principal, name)
        text, token = self.world.accounts.create_token(name)
        self.token_id = token.id
        if principal == "revoked token":
            self.world.accounts.revoke_token(name, token.id)
            return bearer(text) | (visitor() if is_page else {})
        if principal == "disabled user":
            self.world.accounts.change_user(name, is_enabled=False)
        return bearer(text)

    def _session(self, principal: str, name: str) -> dict[str, str]:
        login = self.world.login(name)
        self.session_id = login.session.id
        self.token_id = self.world.accounts.create_token(name)[1].id
        if principal == "expired session":
            self.world.clock.advance(7 * 86400)
        elif principal == "disabled user":
            self.world.accounts.change_user(name, is_enabled=False)
        else:
            return of_session(login)
        return of_session(login) | visitor(f"session={login.cookie}; ")


def visitor(other_cookies: str = "") -> dict[str, str]:
    """A browser that has seen the login page, with its token for the login form."""
    headers = {"Cookie": f"{other_cookies}visitor={VISITOR}", "Sec-Fetch-Site": "same-origin"}
    head = Head("http", "127.0.0.1", {"host": HOST, "cookie": headers["Cookie"]})
    return {**headers, "Orchestra-CSRF": FormTokens(head, None, KEY)()}
