"""What goes between forms and use cases: fields from declared parameters, and errors back to their fields."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from appliance.model.errors import Invalid
from appliance.model.schema import Parameter
from appliance.web.pieces import Field, Form, Option

PREFIX = "parameters."
_KINDS = {"int": "number", "bool": "flag", "choice": "choice", "secret": "secret"}
_HINTS = {"int": "A whole number.", "ref": "A branch, tag or commit."}


def shown(value: Any) -> str:
    """A typed value as a form writes it; ``parameters.from_text`` reads it back."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def parameter_fields(declared: Sequence[Parameter], given: Mapping[str, str] | None = None) -> tuple[Field, ...]:
    """A field for each parameter, with what was typed before, else with its default."""
    return tuple(_field(parameter, (given or {}).get(parameter.key)) for parameter in declared)


def typed(declared: Sequence[Parameter], given: Mapping[str, str]) -> dict[str, str]:
    """What a form really said: a value left at its default is not a value given.

    Defaults may hold what a stranger may not type, such as a leading dash (S-31): they have the author of the job.
    """
    defaults = {parameter.key: shown(parameter.default) for parameter in declared if parameter.default is not None}
    return {key: text for key, text in given.items() if text != defaults.get(key)}


def refused(form: Form, error: Exception) -> Form:
    """The form with what was wrong: at its field where the error names one of them, else above the form."""
    errors = error.errors if isinstance(error, Invalid) else {}
    names = {field.name for field in form.fields}
    fields = tuple(replace(field, error=_sentence(errors.get(field.name, ""))) for field in form.fields)
    rest = [f"{name.removeprefix(PREFIX)}: {text}" for name, text in errors.items() if name not in names]
    if rest:
        problem = "; ".join(rest)
    elif errors:
        problem = "Please look at the marked field." if len(errors) == 1 else "Please look at the marked fields."
    else:
        problem = _sentence(str(error))
    return replace(form, fields=fields, problem=problem)


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def _stopped(text: str) -> str:
    """A description with a full stop, so that another sentence can follow."""
    return f"{text}." if text[-1:].isalnum() else text


def _field(parameter: Parameter, given: str | None) -> Field:
    kind = _KINDS.get(parameter.type, "text")
    value = shown(parameter.default) if given is None else given
    options: tuple[Option, ...] = ()
    if kind in ("choice", "flag"):
        choices = ["true", "false"] if kind == "flag" else [shown(choice) for choice in parameter.choices]
        options = tuple(Option(choice, choice, choice == value) for choice in choices)
        if not parameter.required and parameter.default is None:
            options = (Option("", "(not given)", value == ""), *options)
    return Field(
        name=PREFIX + parameter.key,
        label=parameter.key,
        kind=kind,
        # a refused secret is typed again, never sent back
        value="" if kind == "secret" else value,
        hint=" ".join(filter(None, (_stopped(parameter.description), _HINTS.get(parameter.type)))),
        is_required=parameter.required and parameter.default is None,
        options=options,
        limit=parameter.max_length,
    )
