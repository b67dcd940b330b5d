"""Which addresses mean this machine and no other."""

from __future__ import annotations

import ipaddress


def is_loopback(host: str) -> bool:
    """Whether a host, as a URL or a connection names it and without brackets, is this machine itself (S-09, S-85).

    That is ``localhost``, 127.0.0.0/8, ``::1``, and the former written as IPv6. Any other name may mean any machine.
    """
    if host.lower() == "localhost":
        return True
    try:
        found = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return (getattr(found, "ipv4_mapped", None) or found).is_loopback
