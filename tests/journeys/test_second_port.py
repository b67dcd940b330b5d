"""A second port takes the WebSockets of workers and listeners, and nothing else."""

from __future__ import annotations

import http.client
import json
import socket
from pathlib import Path

from websockets.sync.client import connect

from tests.journeys.site import LONG_ENOUGH, Program, Site, opened


def with_second_port(site: Site) -> int:
    """Give the server a second port, and start it again."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    settings = site.directory / "server" / "orchestra.toml"
    text = settings.read_text()
    assert "# second_port = 8081\n" in text
    settings.write_text(text.replace("# second_port = 8081\n", f"second_port = {port}\n"))
    site.server.terminate()
    site.server.start()
    return port


def test_a_worker_joins_and_works_and_a_listener_follows_on_the_second_port(tmp_path: Path) -> None:
    with opened(tmp_path) as site:
        port = with_second_port(site)
        home = tmp_path / "there"
        token = json.loads(site.out("worker", "token", "there", "--json"))["token"]
        site.out("worker", "join", f"http://127.0.0.1:{port}", token, "--data", str(home))
        run = ["worker", "run", "--config", str(home / "worker.toml")]
        site.workers["there"] = Program(run, tmp_path / "there.log")
        site.workers["there"].start()

        with connect(
            f"ws://127.0.0.1:{port}/api/v1/events",
            additional_headers={"Authorization": f"Bearer {site.token}"},
            proxy=None,
        ) as events:
            events.send(json.dumps({"subscribe": "runs"}))
            name = site.out("trigger", "example/hello").decode().strip()
            statuses = []
            while "succeeded" not in statuses:
                statuses.append(json.loads(events.recv(LONG_ENOUGH))["run"]["status"])
        assert site.out("run", "log", name).startswith(b"Hello from example/hello.")

        pages = http.client.HTTPConnection("127.0.0.1", port, timeout=LONG_ENOUGH)
        pages.request("GET", "/login")
        assert pages.getresponse().status == 404
        pages.close()
        site.assert_healthy()
