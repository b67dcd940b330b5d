"""The repository that the demo builds."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from appliance import demo_repository
from appliance.model.errors import ApplianceError

ROOT = Path(demo_repository.__file__).resolve().parents[1]


def git(directory: Path, *arguments: str) -> str:
    author = ("-c", "user.name=T", "-c", "user.email=t@localhost", "-c", "commit.gpgsign=false")
    ended = subprocess.run(
        ["git", "-C", str(directory), *author, *arguments], capture_output=True, text=True, check=True
    )
    return ended.stdout


def test_the_small_repository_is_clean_and_has_history(tmp_path: Path) -> None:
    made = demo_repository.make_repository(tmp_path / "small")
    assert git(made, "status", "--porcelain") == ""
    assert git(made, "log", "--format=%s").splitlines() == ["Its tests", "The package"]
    assert "roman/__init__.py" in git(made, "ls-files")


def test_the_small_repository_builds_a_wheel_whose_package_passes_its_tests(tmp_path: Path) -> None:
    made = demo_repository.make_repository(tmp_path / "small")
    build = "import sys; sys.path.insert(0, 'build_backend'); import wheel; print(wheel.build_wheel(sys.argv[1]))"
    name = subprocess.run(
        [sys.executable, "-c", build, str(tmp_path)], cwd=made, capture_output=True, text=True, check=True
    ).stdout.strip()
    assert name == "roman-1.0-py3-none-any.whl"
    # A wheel of pure Python can be imported as it is, so the tests meet the built package and not its source.
    tests = subprocess.run(
        [sys.executable, "-I", "-c", TESTS_OF_A_WHEEL, str(tmp_path / name), str(made / "tests")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert tests.returncode == 0, tests.stderr
    assert "Ran 4 tests" in tests.stderr


TESTS_OF_A_WHEEL = """
import sys, unittest
sys.path.insert(0, sys.argv[1])
import roman
assert roman.__file__.startswith(sys.argv[1])
result = unittest.TextTestRunner().run(unittest.defaultTestLoader.discover(sys.argv[2]))
sys.exit(0 if result.wasSuccessful() else 1)
"""


def test_elsewhere_the_demo_makes_the_small_repository(tmp_path: Path) -> None:
    parameters = demo_repository.real_job_parameters(tmp_path, tmp_path / "spare")
    assert parameters == {"repository": str(tmp_path / "spare"), "tests": "tests", "runner": "unittest"}
    assert (tmp_path / "spare" / ".git").is_dir()


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout that looks like this project's, with a commit."""
    top = tmp_path / "checkout"
    for name in ("setup.py", "appliance/examples/example.yaml", "tests/model/test_run_state.py", "docs/index.md"):
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        (top / name).write_text("")
    git(tmp_path, "init", "--quiet", "--template=", str(top))
    git(top, "add", ".")
    git(top, "commit", "--quiet", "-m", "All")
    return top


def test_inside_a_checkout_of_this_project_the_demo_builds_that(checkout: Path, tmp_path: Path) -> None:
    parameters = demo_repository.real_job_parameters(checkout / "docs", tmp_path / "spare")
    assert parameters == {
        "repository": str(checkout.resolve()),
        "tests": "tests/model/test_run_state.py",
        "runner": "pytest",
    }
    assert not (tmp_path / "spare").exists()


def test_a_checkout_without_a_commit_of_what_is_needed_is_none(checkout: Path) -> None:
    git(checkout, "rm", "--quiet", "--cached", "setup.py")
    git(checkout, "commit", "--quiet", "-m", "Less")
    assert (checkout / "setup.py").exists()
    assert demo_repository.own_checkout(checkout) is None


def test_a_new_repository_without_any_commit_is_none(tmp_path: Path) -> None:
    git(tmp_path, "init", "--quiet", "--template=")
    assert demo_repository.own_checkout(tmp_path) is None


def test_the_files_that_tell_a_checkout_are_in_this_one() -> None:
    assert all((ROOT / name).exists() for name in demo_repository._OWN_FILES)


def test_what_git_says_is_passed_on(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ApplianceError, match=r"git init failed: "):
        demo_repository._git("init", str(tmp_path / "file" / "x"))


def test_the_environment_of_a_git_hook_does_not_lead_astray(
    checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_DIR", str(checkout / ".git"))
    made = demo_repository.make_repository(tmp_path / "small")
    monkeypatch.delenv("GIT_DIR")
    assert git(checkout, "log", "--format=%s").splitlines() == ["All"]
    assert len(git(made, "log", "--format=%s").splitlines()) == 2
