"""The head of a request, from WSGI or from a WebSocket handshake: what the gate reads, and nothing else."""

from __future__ import annotations

import urllib.parse
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from appliance.model.addresses import is_loopback
from appliance.model.errors import Malformed


@dataclass(frozen=True)
class Head:
    """``headers``: names in lower case. ``peer``: the client's address, as the configured proxy told it (S-90)."""

    scheme: str
    peer: str
    headers: Mapping[str, str]

    @property
    def host(self) -> str:
        """The Host header in lower case, with its port if it has one."""
        return self.headers.get("host", "").lower()

    @property
    def is_local(self) -> bool:
        """Whether the request came over loopback, to a name of loopback: it never left this machine (S-09)."""
        name = _host_name(self.host)
        return is_loopback(self.peer) and (name.endswith(".localhost") or is_loopback(name))

    def is_own_origin(self, origin: str, base_url: str) -> bool:
        """Whether a page of this site sent it."""
        own = {f"{self.scheme}://{self.host}"} if self.host else set()
        if base_url:
            parts = urllib.parse.urlsplit(base_url)
            own.add(f"{parts.scheme}://{parts.netloc}".lower())
        return origin.lower() in own

    def origin(self, base_url: str) -> str:
        """``scheme://host[:port]`` that people and workers reach this site by."""
        if base_url:
            parts = urllib.parse.urlsplit(base_url)
            return f"{parts.scheme}://{parts.netloc}"
        return f"{self.scheme}://{self.host}"

    def cookie(self, name: str) -> str | None:
        """The first cookie of this name."""
        for part in self.headers.get("cookie", "").split(";"):
            key, mark, value = part.strip().partition("=")
            if mark and key == name:
                return value
        return None


def head_of_environ(environ: Mapping[str, Any]) -> Head:
    """Read a WSGI request. Raises Malformed for a path or host that no honest client sends."""
    headers = {key[5:].replace("_", "-").lower(): str(value) for key, value in environ.items() if key[:5] == "HTTP_"}
    if environ.get("CONTENT_TYPE"):
        headers["content-type"] = str(environ["CONTENT_TYPE"])
    host = headers.get("host", "")
    if len(host) > 255 or any(not "!" <= letter <= "~" or letter in "/\\@?#<>\"'" for letter in host):
        raise Malformed("the Host header is not valid")
    return Head(str(environ.get("wsgi.url_scheme", "http")), str(environ.get("REMOTE_ADDR") or ""), headers)


def decoded_path(environ: Mapping[str, Any]) -> str:
    """The path as text. Raises Malformed for bytes that are not UTF-8 and for control characters."""
    try:
        path = str(environ.get("PATH_INFO") or "/").encode("latin-1").decode("utf-8")
    except UnicodeError:
        raise Malformed("the path is not valid UTF-8") from None
    if any(letter < " " or letter == "\x7f" for letter in path):
        raise Malformed("the path has control characters in it")
    return path


def _host_name(host: str) -> str:
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0]
