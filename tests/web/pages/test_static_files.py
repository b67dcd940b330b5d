from __future__ import annotations

from pathlib import Path

import pytest

from appliance.model.errors import Invalid, NotFound
from appliance.web.static_files import PACKAGED, StaticFiles
from tests.web.pages.site import Site


def test_every_packaged_file_is_in_the_manifest() -> None:
    files = StaticFiles()
    assert files.names == {path.name for path in PACKAGED.iterdir()}
    assert files.find(files.version, "orchestra.css").content == (PACKAGED / "orchestra.css").read_bytes()


def test_a_changed_file_has_a_new_address(tmp_path: Path) -> None:
    (tmp_path / "orchestra.css").write_text("body { color: red }")
    files = StaticFiles([tmp_path])
    assert files.address("orchestra.css") != StaticFiles().address("orchestra.css")
    assert files.find(files.version, "orchestra.css").content == b"body { color: red }"
    assert files.find(files.version, "live.js").content  # what is not replaced is the package's


def test_the_first_directory_of_the_operator_wins(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "logo.svg").write_text(name)
    files = StaticFiles([tmp_path / "one", tmp_path / "two"])
    assert files.find(files.version, "logo.svg").content == b"one"


def test_req_S_23_links_and_unknown_types_are_no_static_files(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("x")
    (tmp_path / "stolen.css").symlink_to(tmp_path / "secret")
    (tmp_path / "page.html").write_text("<script>")
    assert StaticFiles([tmp_path]).names == StaticFiles().names


def test_req_S_23_a_file_that_comes_after_the_start_is_not_served(tmp_path: Path) -> None:
    files = StaticFiles([tmp_path])
    (tmp_path / "late.css").write_text("x")
    with pytest.raises(NotFound):
        files.find(files.version, "late.css")


def test_a_directory_that_is_not_there_stops_the_start(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="does not exist"):
        StaticFiles([tmp_path / "nothing"])


@pytest.mark.parametrize(
    "path",
    [
        "../orchestra.css",
        "..%2forchestra.css",
        "%2e%2e/orchestra.css",
        "..%5corchestra.css",
        "%252e%252e/orchestra.css",
        "/etc/passwd",
        "orchestra.css%00.js",
        "orchestra.css/",
        "ORCHESTRA.CSS",
        "./orchestra.css",
        "",
    ],
)
def test_req_S_23_a_path_that_is_no_name_of_the_manifest_is_not_found(site: Site, path: str) -> None:
    version = StaticFiles().version
    assert site.browser().get(f"/static/{version}/{path}").status in (400, 404)


def test_static_files_are_kept_for_ever_and_never_guessed(site: Site) -> None:
    answer = site.browser().get(StaticFiles().address("orchestra.css"))
    assert answer.status == 200
    assert answer.header("Content-Type") == "text/css; charset=utf-8"
    assert answer.header("Cache-Control") == "public, max-age=31536000, immutable"
    assert answer.header("X-Content-Type-Options") == "nosniff"
    assert site.browser().get("/static/000000000000/orchestra.css").status == 404
