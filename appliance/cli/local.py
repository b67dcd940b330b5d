"""Commands that work on the data directory themselves: its parts, opened without starting a server."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from appliance.cli.base import Globals
from appliance.config import SERVER_FILE, ConfigurationError, load_server
from appliance.model.errors import Invalid
from appliance.private_files import check_not_writable

if TYPE_CHECKING:
    from appliance.app import Appliance
    from appliance.settings import ServerSettings


def build(settings: ServerSettings) -> Appliance:
    """The appliance that the settings describe, nothing opened yet. Raises ConfigurationError for a bad factory."""
    from appliance.app import Appliance

    if settings.appliance.factory is None:
        return Appliance(settings)
    place = settings.file or SERVER_FILE
    try:
        factory = _load(settings.appliance.factory, settings.file)
    except (ImportError, AttributeError, SyntaxError, Invalid) as error:
        raise ConfigurationError(place, 0, "appliance.factory", f"cannot be loaded: {error}") from error
    if not (isinstance(factory, type) and issubclass(factory, Appliance)):
        raise ConfigurationError(place, 0, "appliance.factory", "is not a subclass of appliance.app.Appliance")
    return factory(settings)


def _load(name: str, settings_file: Path | None) -> object:
    """What ``module:Class`` means. The operator's ``deployment.py`` may lie beside the settings (X14)."""
    module, _, attribute = name.partition(":")
    if settings_file is not None:
        beside = settings_file.with_name(f"{module}.py")
        if beside.exists():
            check_not_writable(beside)  # it is server code (S-89)
        sys.path.insert(0, str(settings_file.parent))
    return getattr(importlib.import_module(module), attribute)


@contextmanager
def opened(options: Globals) -> Iterator[Appliance]:
    """The parts over the open database of the data directory. Raises Conflict while a server has it open."""
    appliance = build(load_server(data=options.data))
    appliance.open_storage()
    try:
        yield appliance
    finally:
        appliance.repository.close()


def setup_link(url: str, token: str) -> str:
    """The address where the first administrator is made."""
    return f"{url}/setup?token={token}"
