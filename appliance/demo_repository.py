"""What the demo builds: this project's own checkout, or a small git repository made for it (O1)."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from appliance.model.errors import ApplianceError

# Without the variables that a git hook or an editor may have set for another repository.
_GIT = ("env", "-u", "GIT_DIR", "-u", "GIT_WORK_TREE", "-u", "GIT_INDEX_FILE", "-u", "GIT_PREFIX", "git")
_NOBODY = ("-c", "user.name=Orchestra demo", "-c", "user.email=demo@localhost", "-c", "commit.gpgsign=false")
_OWN_TESTS = "tests/model/test_run_state.py"  # quick, and the same at each run
_OWN_FILES = ("setup.py", "appliance/examples/example.yaml", _OWN_TESTS)


def real_job_parameters(start: Path, spare: Path) -> dict[str, str]:
    """Parameters for ``example/real``: the checkout that ``start`` lies in if it is one of this project, else a small
    repository that is made at ``spare``.

    Only what is committed counts, because the job clones it. Raises ApplianceError when git is missing or fails.
    """
    checkout = own_checkout(start)
    if checkout is not None:
        return {"repository": str(checkout), "tests": _OWN_TESTS, "runner": "pytest"}
    return {"repository": str(make_repository(spare)), "tests": "tests", "runner": "unittest"}


def own_checkout(start: Path) -> Path | None:
    """The top of the checkout of this project that ``start`` lies in, if a commit of it can be built and tested."""
    try:
        top = _git("-C", str(start), "rev-parse", "--show-toplevel").strip()
        for name in _OWN_FILES:
            _git("-C", top, "cat-file", "-e", f"HEAD:{name}")
    except ApplianceError:
        return None
    return Path(top)


def make_repository(directory: Path) -> Path:
    """Make a git repository with a tiny package, its tests and two commits in a new directory; answers the directory.

    It builds without a network. Raises ApplianceError when git is missing or fails.
    """
    shutil.copytree(
        Path(__file__).with_name("examples") / "small_repository",
        directory,
        ignore=shutil.ignore_patterns("__pycache__", "*.pyc"),
    )
    _git("init", "--quiet", "--template=", "--initial-branch=main", str(directory))
    for names, message in (
        (("README.md", "pyproject.toml", "build_backend", "roman"), "The package"),
        (("tests",), "Its tests"),
    ):
        _git("-C", str(directory), "add", "--", *names)
        _git("-C", str(directory), *_NOBODY, "commit", "--quiet", "--no-verify", "-m", message)
    return directory


def _git(*arguments: str) -> str:
    try:
        ended = subprocess.run([*_GIT, *arguments], capture_output=True, text=True, check=False, timeout=60)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ApplianceError(f"git cannot be run: {error}") from None
    if ended.returncode == 127:
        raise ApplianceError("git is missing: install it")
    if ended.returncode != 0:
        words = (ended.stderr.strip() or f"exit code {ended.returncode}").splitlines()[0]
        raise ApplianceError(f"git {arguments[0]} failed: {words}")
    return ended.stdout
