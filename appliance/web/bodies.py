"""Bodies and queries become typed values before a handler sees them. Unknown fields are refused (S-03, S-63, S-64)."""

from __future__ import annotations

import re
import typing
import urllib.parse
from collections.abc import Mapping
from functools import cache
from http import HTTPStatus
from typing import Any

import msgspec

from appliance.model.documents import strict_json
from appliance.model.errors import Invalid, Malformed, TooLarge
from appliance.web.errors import Refused
from appliance.web.head import Head

CSRF_FIELD = "csrf"
_MOST_FIELDS = 1000
_FIELD = re.compile(r"field `([^`]{0,100})`")


def read_body(environ: Mapping[str, Any], limit: int) -> bytes:
    """The bytes of the body. Raises TooLarge, and Malformed when fewer came than announced."""
    try:
        length = int(environ.get("CONTENT_LENGTH") or 0)
    except ValueError:
        raise Malformed("the Content-Length is not a number") from None
    if length > limit:
        raise TooLarge(f"the body has {length} bytes; at most {limit} are taken here")
    if length <= 0:
        return b""
    raw: bytes = environ["wsgi.input"].read(length)
    if len(raw) != length:
        raise Malformed("the body ended early")
    return raw


def json_body(head: Head, raw: bytes, wanted: Any, limit: int) -> Any:
    """The typed body of a request to the service. ``wanted`` None: none, or ``{}``."""
    if wanted is None and not raw:
        return None
    if _media_type(head) != "application/json":
        raise Refused(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "send JSON, with Content-Type: application/json")
    value = strict_json(raw, limit)
    if not isinstance(value, dict):
        raise Invalid("the body must be a JSON object", {"": "must be an object"})
    if wanted is None:
        if value:
            raise Invalid("this takes no fields", dict.fromkeys(value, "unknown field"))
        return None
    return _convert(value, wanted, strict=True)


def form_fields(head: Head, raw: bytes) -> tuple[dict[str, list[str]], str]:
    """The fields of a form, and its CSRF token taken out of them (S-11)."""
    if raw and _media_type(head) != "application/x-www-form-urlencoded":
        raise Refused(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "send a form, as application/x-www-form-urlencoded")
    try:
        fields = _fields(raw.decode("ascii"))
    except UnicodeDecodeError:
        raise Malformed("the form is not in URL encoding") from None
    return fields, fields.pop(CSRF_FIELD, [""])[0]


def form_body(fields: Mapping[str, list[str]], wanted: Any) -> Any:
    """The typed body of a form. ``wanted`` None: none."""
    if wanted is None:
        if fields:
            raise Invalid("this takes no fields", dict.fromkeys(fields, "unknown field"))
        return None
    return _convert(_nested(fields, wanted), wanted, strict=False)


def read_query(text: str, wanted: type[msgspec.Struct], *, is_page: bool) -> Any:
    """The typed query. A page passes over unknown and empty fields, as forms and links from elsewhere bring them."""
    fields = _fields(text)
    if is_page:
        known = {field.encode_name for field in msgspec.structs.fields(wanted)}
        fields = {name: [value for value in values if value] for name, values in fields.items() if name in known}
        fields = {name: values for name, values in fields.items() if values}
    return _convert(_nested(fields, wanted), wanted, strict=False)


def _media_type(head: Head) -> str:
    return head.headers.get("content-type", "").partition(";")[0].strip().lower()


def _fields(text: str) -> dict[str, list[str]]:
    try:
        pairs = urllib.parse.parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=_MOST_FIELDS)
    except UnicodeError:
        raise Malformed("a field is not valid UTF-8") from None
    except ValueError:
        raise Malformed(f"there are more than {_MOST_FIELDS} fields") from None
    fields: dict[str, list[str]] = {}
    for name, value in pairs:
        if "\0" in name or "\0" in value:
            raise Malformed("a field has a NUL character in it")
        fields.setdefault(name, []).append(value)
    return fields


def _nested(fields: Mapping[str, list[str]], wanted: Any) -> dict[str, Any]:
    """Fields with the shape of the struct: ``a.b`` is key ``b`` of ``a``; only a tuple takes a name more than once."""
    repeated = _tuples(wanted)
    value: dict[str, Any] = {}
    for name, given in fields.items():
        if name in repeated:
            value[name] = given
        elif len(given) > 1:
            raise Invalid(f"{name[:100]} was given more than once", {name: "only once"})
        else:
            outer, mark, inner = name.partition(".")
            if mark:
                inside = value.setdefault(outer, {})
                if not isinstance(inside, dict):
                    raise Invalid(f"{outer[:100]} is given as a text and as a group", {name: "unknown field"})
                inside[inner] = given[0]
            elif isinstance(value.get(name), dict):
                raise Invalid(f"{name[:100]} is given as a text and as a group", {name: "unknown field"})
            else:
                value[name] = given[0]
    return value


@cache
def _tuples(wanted: type[msgspec.Struct]) -> frozenset[str]:
    fields = msgspec.structs.fields(wanted)
    return frozenset(field.encode_name for field in fields if typing.get_origin(_plain(field.type)) is tuple)


def _plain(kind: Any) -> Any:
    return typing.get_args(kind)[0] if typing.get_origin(kind) is typing.Annotated else kind


def _convert(value: dict[str, Any], wanted: Any, *, strict: bool) -> Any:
    try:
        return msgspec.convert(value, wanted, strict=strict)
    except msgspec.ValidationError as error:
        what, mark, where = str(error).rpartition(" - at `$")  # msgspec says: Expected `int` - at `$.count`
        what, place = (what, where.rstrip("`").lstrip(".")) if mark else (str(error), "")
        if named := _FIELD.search(what):
            place = f"{place}.{named[1]}" if place else named[1]
        sentence = f"{place}: {what}" if place else what
        raise Invalid(sentence[:500], {place: what[:300]}) from None
