"""Values that a trigger gives to a run's parameters (C1, S-31). The same rules for service, form and command line.

Values keep their types and are never reinterpreted (J03). Literal values of the configuration (defaults, choices) are
exempt from the rule of leading dashes, because they have the same author as the commands.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from appliance.model import documents
from appliance.model.errors import Invalid
from appliance.model.names import did_you_mean
from appliance.model.patterns import compile_pattern
from appliance.model.schema import Parameter

TOTAL_LIMIT = 32 * 1024  # bytes of all values of a run as JSON, so that a request fits a message
DASHES = "-\u2010\u2011\u2012\u2013\u2014\u2015\u2212\ufe58\ufe63\uff0d"

_INTEGER = re.compile(r"-?[0-9]{1,16}")
_WORDS = {"true": True, "on": True, "yes": True, "1": True, "false": False, "off": False, "no": False, "0": False}
_REF_FORBIDDEN = re.compile(r"[\x00-\x20\x7f~^:?*\[\\]|\.\.|@\{|//|/\.|\.(?:lock)?(?:/|(?!\n)$)")


def resolve(declared: Sequence[Parameter], given: Mapping[str, Any]) -> dict[str, Any]:
    """The values of a run: what was given, checked by type, and the defaults of the rest.

    A parameter that is neither given nor has a default is absent (a template that names it then ends the run as
    errored), unless it is required. Raises Invalid; ``errors`` are keyed ``parameters.<key>``.
    """
    return _resolve(declared, given, {})


def resolve_text(declared: Sequence[Parameter], given: Mapping[str, str]) -> dict[str, Any]:
    """As :func:`resolve`, of what a form says: :func:`from_text` first, and what both find wrong is told at once."""
    values, errors = _read_text(declared, given)
    return _resolve(declared, values, errors)


def _resolve(declared: Sequence[Parameter], given: Mapping[str, Any], unread: Mapping[str, str]) -> dict[str, Any]:
    """``unread``: what is wrong already with values that are not in ``given`` therefore."""
    errors = dict(unread)
    values: dict[str, Any] = {}
    known = {parameter.key: parameter for parameter in declared}
    for key in given:
        if key not in known:
            errors[_field(key)] = _undeclared(key, known)
    for key, parameter in known.items():
        if _field(key) in unread:
            continue
        if key in given and given[key] is not None:
            try:
                values[key] = check_value(parameter, given[key])
            except Invalid as error:
                errors[_field(key)] = str(error)
        elif parameter.default is not None:
            values[key] = parameter.default
        elif parameter.required:
            errors[_field(key)] = "is required"
    places = {_field(key): at for at, key in enumerate(known)}  # names nobody declared first, then as in the form
    errors = dict(sorted(errors.items(), key=lambda error: places.get(error[0], -1)))
    if not errors and len(documents.canonical(values).encode()) > TOTAL_LIMIT:
        errors["parameters"] = f"all values together are over {TOTAL_LIMIT} bytes"
    _raise(errors)
    return values


def from_text(declared: Sequence[Parameter], given: Mapping[str, str]) -> dict[str, Any]:
    """Values of a form or of ``-p key=value`` by their declared types, for :func:`resolve`.

    An empty text is "not given" for every type but string, and for a string that has a default or must be given. Text
    of undeclared keys is passed on, so that ``resolve`` refuses it. Raises Invalid as there.
    """
    values, errors = _read_text(declared, given)
    _raise(errors)
    return values


def _read_text(declared: Sequence[Parameter], given: Mapping[str, str]) -> tuple[dict[str, Any], dict[str, str]]:
    """The values that could be read, and what is wrong with the others."""
    errors: dict[str, str] = {}
    values: dict[str, Any] = {}
    known = {parameter.key: parameter for parameter in declared}
    for key, text in given.items():
        parameter = known.get(key)
        if parameter is None:
            values[key] = text
            continue
        if text == "" and (parameter.type != "string" or parameter.required or parameter.default is not None):
            continue
        try:
            values[key] = _typed(parameter, text)
        except Invalid as error:
            errors[_field(key)] = str(error)
    return values, errors


def check_value(parameter: Parameter, value: Any) -> Any:
    """The value, if the parameter may have it when it comes from outside. Raises Invalid with one sentence."""
    check_type(parameter, value)
    if parameter.type == "string" and parameter.pattern is None:
        if value[:1] and value[0] in DASHES:
            raise Invalid("must not begin with a dash, because a command could take it for an option")
        for character in value:
            if unicodedata.category(character) == "Cc":
                raise Invalid(f"must not hold control characters ({character!a})")
    return value


def check_type(parameter: Parameter, value: Any) -> None:
    """Whether a value fits the declaration, wherever it comes from. Raises Invalid with one sentence."""
    kind = type(value)
    match parameter.type:
        case "string" | "ref":
            if kind is not str:
                raise Invalid("must be a text")
            if len(value) > parameter.max_length:
                raise Invalid(f"is longer than {parameter.max_length} characters")
            if "\0" in value:
                raise Invalid("must not hold the character NUL")
            if any("\ud800" <= character <= "\udfff" for character in value):
                raise Invalid("holds half a surrogate pair")
            if parameter.type == "ref":
                _check_ref(value)
            elif parameter.pattern is not None and not compile_pattern(parameter.pattern).matches(value):
                raise Invalid(f"does not fit the pattern {parameter.pattern}")
        case "int":
            if kind is not int:
                raise Invalid("must be a whole number")
            if abs(value) > documents.INTEGER_LIMIT:
                raise Invalid("is beyond 2^53")
        case "bool":
            if kind is not bool:
                raise Invalid("must be true or false")
        case "choice":
            # 1, 1.0 and true are equal in Python, and different choices here
            if not any(kind is type(choice) and value == choice for choice in parameter.choices):
                raise Invalid("must be one of " + _listed(parameter.choices))
        case "secret":
            raise Invalid("secret parameters are not supported by this version")


def variable(key: str) -> str:
    """The environment variable of a parameter: ``PARAM_BRANCH`` for ``branch``; other characters become ``_``."""
    return "PARAM_" + re.sub(r"[^A-Z0-9_]", "_", key.upper())


def as_text(value: Any) -> str:
    """A value as a form shows it and ``from_text`` reads it back: true, false, 1.5, or the text itself."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) else documents.canonical(value)


def _typed(parameter: Parameter, text: str) -> Any:
    match parameter.type:
        case "int":
            if _INTEGER.fullmatch(text) is None:
                raise Invalid("must be a whole number such as 42")
            return int(text)
        case "bool":
            if text.lower() not in _WORDS:
                raise Invalid("must be true or false")
            return _WORDS[text.lower()]
        case "choice":
            for choice in parameter.choices:
                if as_text(choice) == text:
                    return choice
            raise Invalid("must be one of " + _listed(parameter.choices))
        case _:
            return text


def _check_ref(value: str) -> None:
    """A name that git takes for a branch, a tag or a revision (git-check-ref-format), and no option."""
    if value == "":
        raise Invalid("must not be empty")
    if value[0] in DASHES:
        raise Invalid("must not begin with a dash, because a command could take it for an option")
    if value[0] in "/." or value[-1] == "/" or value == "@" or _REF_FORBIDDEN.search(value):
        raise Invalid("is not the name of a branch, tag or revision")


def _undeclared(key: str, known: Iterable[str]) -> str:
    known = list(known)
    if not known:
        return "is not declared; the job has no parameters"
    return "is not declared by the job" + (did_you_mean(key, known) or f"; it has {_listed(known)}")


def _listed(values: Sequence[Any]) -> str:
    shown = ", ".join(as_text(value)[:40] for value in values[:10])
    return shown + (", ..." if len(values) > 10 else "")


def _field(key: str) -> str:
    return f"parameters.{key[:64]}"


def _raise(errors: dict[str, str]) -> None:
    if errors:
        first = next(iter(errors))
        raise Invalid(f"{first} {errors[first]}", errors)
