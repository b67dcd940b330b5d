"""Command templates: the grammar of reliability.md section 6, and nothing else (S-30).

``{parameters[branch]}`` and ``{parameters.branch}`` are the same field. Lookups in dicts and lists only: no attributes,
no calls, no conversions, no format specifications. One pass: text that came from a value is never looked at again.
Imports only ``re``, because every executor carries this module.
"""

from __future__ import annotations

import re

ARGUMENT_LIMIT = 128 * 1024  # bytes of one expanded argument
COMMAND_LIMIT = 2 * 1024 * 1024  # bytes of all expanded arguments of a command

GROUPS = frozenset({"environment", "parameters", "results"})
NAMES = GROUPS | {"project_identifier", "job_identifier", "run_identifier"}
COMMAND_NAMES = NAMES | {"result_file_path", "workspace"}

_TOKEN = re.compile(
    r"\{\{|\}\}|\{([A-Za-z_][A-Za-z0-9_]{0,63}"
    r"(?:\.[A-Za-z0-9_-]{1,64}|\[[^\[\]{}\x00-\x1f\x7f-\x9f]{1,128}\]){0,8})\}|[{}]|\x00"
)
_STEP = re.compile(r"\.([^.\[]+)|\[([^\]]+)\]")


class TemplateError(ValueError):
    """A template that cannot be read or filled. ``position``: characters from 0, ``field``: what stands there."""

    def __init__(self, sentence: str, position: int, field: str) -> None:
        super().__init__(sentence)
        self.position = position
        self.field = field


class Field:
    """A field of a template: ``{results[tests].0}`` has the name ``results`` and the steps ``("tests", "0")``."""

    __slots__ = ("name", "position", "steps", "text")

    def __init__(self, text: str, position: int) -> None:
        steps = []
        first = len(text)
        for step in _STEP.finditer(text):
            first = min(first, step.start())
            steps.append(step[1] or step[2])
        self.text = text
        self.position = position
        self.name = text[:first]
        self.steps = tuple(steps)


def expand(text: str, context: dict[str, object], limit: int = ARGUMENT_LIMIT) -> str:
    """The text with each field replaced by ``str()`` of its value in ``context``. Raises TemplateError.

    Values are scalars (str, int, float, bool; exact types). ``limit``: bytes of the answer in UTF-8.
    """
    parts = []
    size = 0
    for part in _parts(text):
        if not isinstance(part, str):
            part = _value(part, context)
        size += _size(part)
        if size > limit:
            raise TemplateError(f"the expanded text is over {limit} bytes", 0, text[:80])
        parts.append(part)
    return "".join(parts)


def expand_command(arguments: list[str], context: dict[str, object]) -> list[str]:
    """All arguments of a command, each expanded; at most 2 MiB together. Raises TemplateError."""
    expanded = []
    left = COMMAND_LIMIT
    for argument in arguments:
        text = expand(argument, context)
        left -= _size(text)
        if left < 0:
            raise TemplateError(f"the expanded command is over {COMMAND_LIMIT} bytes", 0, argument[:80])
        expanded.append(text)
    return expanded


def fields(text: str) -> list[Field]:
    """The fields of a template, in order. Raises TemplateError when the text is not a template."""
    return [part for part in _parts(text) if not isinstance(part, str)]


def check(text: str, allowed_names: frozenset[str] = COMMAND_NAMES) -> list[TemplateError]:
    """All that is wrong for sure before any value is known: the syntax, unknown names, steps that cannot be.

    ``allowed_names``: COMMAND_NAMES for commands, NAMES for the parameters of pipeline elements.
    """
    try:
        found = fields(text)
    except TemplateError as error:
        return [error]
    errors = []
    for field in found:
        if field.name not in allowed_names:
            errors.append(_unknown(field, ""))
        elif field.name in GROUPS and not field.steps:
            errors.append(_not_scalar(field, f"say which one, as {{{field.name}[key]}}"))
        elif field.name not in GROUPS and field.steps:
            errors.append(_unknown(field, f"{field.name!r} is a text"))
    return errors


def _parts(text: str) -> list[str | Field]:
    parts: list[str | Field] = []
    position = 0
    for token in _TOKEN.finditer(text):
        parts.append(text[position : token.start()])
        position = token.end()
        if token[1] is not None:
            parts.append(Field(token[1], token.start()))
        elif token[0] in ("{{", "}}"):
            parts.append(token[0][0])
        else:
            raise _refused(text, token.start())
    parts.append(text[position:])
    return parts


def _value(field: Field, context: dict[str, object]) -> str:
    if field.name not in context:
        raise _unknown(field, "")
    value = context[field.name]
    walked = field.name
    for step in field.steps:
        if type(value) is dict and step in value:
            value = value[step]
        elif type(value) is list and step.isascii() and step.isdigit() and int(step) < len(value):
            value = value[int(step)]
        else:
            raise _unknown(field, _why_not(walked, step, value))
        walked = f"{walked}[{step}]"
    if type(value) not in (str, int, float, bool):
        raise _not_scalar(field, "it is null" if value is None else f"it is a {type(value).__name__}")
    try:
        text = str(value)
    except ValueError:  # Python refuses to print integers of more than 4,300 digits
        raise _not_scalar(field, "the number is too long") from None
    if "\0" in text:
        raise TemplateError(
            f"the value of '{field.text}' at position {field.position} holds the character NUL",
            field.position,
            field.text,
        )
    return text


def _why_not(walked: str, step: str, value: object) -> str:
    if type(value) is dict:
        return f"'{walked}' has no {step!r}"
    if type(value) is list:
        return f"'{walked}' is a list of {len(value)}, counted from 0"
    return f"'{walked}' has no parts"


def _unknown(field: Field, why: str) -> TemplateError:
    sentence = f"unknown name '{field.text}' at position {field.position}" + (f": {why}" if why else "")
    return TemplateError(sentence, field.position, field.text)


def _not_scalar(field: Field, why: str) -> TemplateError:
    return TemplateError(
        f"'{field.text}' at position {field.position} is no text, number or truth value: {why}",
        field.position,
        field.text,
    )


def _refused(text: str, position: int) -> TemplateError:
    """Say which rule the brace at ``position`` breaks."""
    if text[position] == "\0":
        return TemplateError(f"the character NUL at position {position}", position, "\0")
    end = text.find("}", position + 1, position + 1300)
    following = text.find("{", position + 1)
    if text[position] == "}" or end < 0 or 0 <= following < end:
        brace = text[position]
        sentence = f"unmatched '{brace}' at position {position}: write '{brace}{brace}' for the character itself"
        return TemplateError(sentence, position, brace)
    inner = text[position + 1 : end]
    shown = inner if len(inner) <= 80 else inner[:80] + "..."
    if inner == "" or inner.isdigit():
        why = "fields are named"
    elif "!" in inner:
        why = "conversions such as !r are not part of templates"
    elif ":" in inner:
        why = "format specifications such as :>9 are not part of templates"
    else:
        why = "a field is a name and up to 8 steps, [key] or .key"
    sentence = f"'{{{shown}}}' at position {position} is not a field: {why}; write '{{{{' for a brace itself"
    return TemplateError(sentence, position, f"{{{shown}}}")


def _size(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))
