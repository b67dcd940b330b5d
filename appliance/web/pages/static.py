"""``/static/{version}/{name}``: the files that pages load, out of the manifest (S-23)."""

from __future__ import annotations

from appliance.model.errors import NotFound
from appliance.web.routes import Parts, Request, Response, Route, content


def static(request: Request, parts: Parts) -> Response:
    """One file. Its address changes with its content, so browsers may keep it for ever."""
    if parts.static_files is None:
        raise NotFound("there is no such file")
    file = parts.static_files.find(request.params["version"], request.params["name"])
    return content(file.content, file.content_type, {"Cache-Control": "public, max-age=31536000, immutable"})


ROUTES = (Route("GET", "/static/<version>/<name:path>", static, "public", kind="static", summary="A static file"),)
