"""What can be set, with every default: the values of ``orchestra.toml``, ``worker.toml`` and of a client.

``config`` reads them. A section is a struct, a key is a field; ``settings_text`` knows how values are written.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec

from appliance.settings_text import Address, Database, Factory, Level, Seconds, Size, Url

Port = Annotated[int, msgspec.Meta(ge=1, le=65_535)]
Count = Annotated[int, msgspec.Meta(ge=1, le=1_000_000)]
Text = Annotated[str, msgspec.Meta(max_length=4096)]
Word = Annotated[str, msgspec.Meta(max_length=128)]
Scalar = Text | bool | int | float
Property = Scalar | Annotated[tuple[Scalar, ...], msgspec.Meta(max_length=100)]


class ServerSection(msgspec.Struct, frozen=True):
    """``[server]``: one port for pages, service and workers."""

    listen: Address = Address("127.0.0.1:8080")
    base_url: Url | None = None  # what browsers and workers use to reach us; None: http:// and ``listen``
    second_port: Port | None = None  # takes WebSockets only, on the host of ``listen``
    insecure_http: bool = False  # allow login over plain HTTP beyond loopback (security.md section 11)
    trusted_proxy: Annotated[str, msgspec.Meta(pattern=r"^[0-9A-Fa-f.:]{0,45}(?!\n)$")] = ""  # S-90: an IP address


class DataSection(msgspec.Struct, frozen=True):
    """``[data]``: where everything is kept."""

    directory: Path = Path()  # absolute once loaded
    database: Database = Database("sqlite")


class ProjectsSection(msgspec.Struct, frozen=True):
    """``[projects]``: files and directories with project files; absolute once loaded."""

    paths: tuple[Path, ...] = (Path("projects"),)


class ApplianceSection(msgspec.Struct, frozen=True):
    """``[appliance]``: ``module:Class``, a subclass of Appliance that changes a part of it (X14).

    The module lies beside the settings file or is installed.
    """

    factory: Factory | None = None


class WebSection(msgspec.Struct, frozen=True):
    """``[web]``: directories that are looked through before the package's own; absolute once loaded."""

    templates: tuple[Path, ...] = ()
    static: tuple[Path, ...] = ()
    announcement: Text = ""  # shown on every page


class LimitsSection(msgspec.Struct, frozen=True):
    """``[limits]``: the bounds of security.md (S-60 to S-65) and reliability.md (4.2, 5.5)."""

    password_iterations: Annotated[int, msgspec.Meta(ge=1_000, le=100_000_000)] = 1_000_000
    http_threads: Annotated[int, msgspec.Meta(ge=2, le=256)] = 8
    connection_limit: Count = 1000
    connections_per_address: Count = 64
    request_timeout: Seconds = Seconds(20)  # a request must be complete within this of its first byte
    body_size: Size = Size(1 << 20)
    triggers_per_minute: Count = 600  # per user
    trigger_burst: Count = 300
    logins_per_minute: Count = 10  # per client address
    login_burst: Count = 5
    log_size: Size = Size(4 << 30)  # of a run, where its job sets none
    pending_expires: Seconds = Seconds(86_400)  # a pending run is cancelled then, where its job says nothing
    lost_after: Seconds = Seconds(3600)  # silence of a worker until its runs are lost, where the job says nothing
    abort_grace: Seconds = Seconds(30)  # between SIGTERM and SIGKILL
    teardown_timeout: Seconds = Seconds(60)


class LogSection(msgspec.Struct, frozen=True):
    """``[log]``: our own log, on stderr."""

    level: Level = Level("info")


class ServerSettings(msgspec.Struct, frozen=True):
    """``orchestra.toml``, read and checked."""

    server: ServerSection = ServerSection()
    data: DataSection = DataSection()
    projects: ProjectsSection = ProjectsSection()
    appliance: ApplianceSection = ApplianceSection()
    web: WebSection = WebSection()
    limits: LimitsSection = LimitsSection()
    log: LogSection = LogSection()
    file: Path | None = None  # where this was read from; no key of the file

    @property
    def url(self) -> str:
        """What browsers and workers use to reach us, without a trailing slash; of all addresses, the loopback one."""
        loopback = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(self.server.listen.host)  # noqa: S104  # for nobody to bind
        listen = self.server.listen if loopback is None else f"{loopback}:{self.server.listen.port}"
        return self.server.base_url or f"http://{listen}"


class WorkerSection(msgspec.Struct, frozen=True, kw_only=True):
    """``[worker]``. Its properties are words about itself; those that its token carries win over them (W4)."""

    url: Url
    name: Annotated[str, msgspec.Meta(max_length=64)] = ""  # as the server called it at the join; the token decides
    slots: Annotated[int, msgspec.Meta(ge=1, le=10_000)] = 1
    token_file: Path = Path("token")  # absolute once loaded
    data: Path = Path()  # absolute once loaded
    properties: Annotated[dict[Word, Property], msgspec.Meta(max_length=200)] = {}
    environment: Annotated[dict[str, Text], msgspec.Meta(max_length=1000)] = {}
    retention: Seconds = Seconds(86_400)  # what the master has stored is kept this long (I5, F24) ..
    retention_size: Size = Size(2 << 30)  # .. or until it takes more than this
    min_free: Size | None = None  # less free space takes no new run (F17); None: 1 GiB or 5 %, whichever is less


class WorkerSettings(msgspec.Struct, frozen=True):
    """``worker.toml``, read and checked."""

    worker: WorkerSection
    log: LogSection = LogSection()
    file: Path | None = None  # where this was read from; no key of the file


class ClientSettings(msgspec.Struct, frozen=True):
    """How a command reaches the service. ``token`` is "" when none was found."""

    url: str
    token: str
