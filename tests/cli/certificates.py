"""Certificates of a test's own, made by the program openssl."""

from __future__ import annotations

import shutil
import ssl
import subprocess
from pathlib import Path

from tests.required import demand

_CA = """\
[ca]
default_ca = own
[own]
database = index.txt
serial = serial
new_certs_dir = .
default_md = sha256
policy = any
copy_extensions = copy
unique_subject = no
[any]
commonName = supplied
"""


class Certificate:
    """A pair of files. It is signed by itself."""

    def __init__(self, directory: Path, name: str, years: tuple[int, int]) -> None:
        """``name``: as in ``DNS:localhost`` or ``IP:127.0.0.1``; ``years``: on whose first days it begins and ends."""
        demand("openssl", None if shutil.which("openssl") else "the program openssl is not there")
        directory.mkdir()
        self.file, self.key = directory / "certificate.pem", directory / "key.pem"
        (directory / "ca.cnf").write_text(_CA)
        (directory / "index.txt").write_text("")
        (directory / "serial").write_text("01\n")
        curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
        names = ["-subj", "/CN=orchestra test", "-addext", f"subjectAltName={name}"]
        begin, end = (f"{year}0101000000Z" for year in years)
        sign = ["-batch", "-config", "ca.cnf", "-selfsign", "-notext", "-keyfile", "key.pem"]
        for command in (
            ["req", "-new", *curve, *names, "-keyout", "key.pem", "-out", "request.pem"],
            ["ca", *sign, "-in", "request.pem", "-startdate", begin, "-enddate", end, "-out", "certificate.pem"],
        ):
            made = subprocess.run(["openssl", *command], cwd=directory, capture_output=True, text=True, check=False)
            assert made.returncode == 0, made.stderr

    def server_context(self) -> ssl.SSLContext:
        """What a server shows it with."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.file, self.key)
        return context
