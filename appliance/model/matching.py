"""Whether a worker may get a run, with the reason when not (W2).

Only what job and worker declare. Connected, enabled, draining and free slots are the dispatcher's to look at.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from appliance.model.errors import Invalid
from appliance.model.sizes import parse_size, show_bytes

CONTROLLER = "is_controller"

_WRONG_KIND = {
    True: "needs a controller worker, and this worker is not one",
    False: "this worker takes controller jobs only",
}
_INTEGER = re.compile(r"(0|-?[1-9][0-9]{0,14})(?!\n)$")
_COMPARISON = re.compile(r"\s*(>=|<=|==|!=|>|<)\s*([^\s,]{1,64})\s*")
_DOTTED = re.compile(r"[0-9]{1,18}(?:\.[0-9]{1,18}){0,7}(?![0-9])")  # as long as the bytes of any memory
_BYTES = re.compile(r"[0-9]{1,18}")
_WORDS = {">=": "at least", "<=": "at most", ">": "more than", "<": "less than", "==": "equal to", "!=": "other than"}


def read_property(text: str) -> str | int | bool:
    """A property as the one who types it means it: ``true``, ``false`` and whole numbers, else the text itself."""
    if text in ("true", "false"):
        return text == "true"
    return int(text) if _INTEGER.match(text) else text


class Condition(msgspec.Struct, frozen=True):
    """One condition of a job, held against one worker; its words are made when somebody asks for them.

    ``wanted``: as ``requires`` has it. ``said``: what the worker says of itself by that name, None: nothing. ``words``
    and ``because`` stand for what is made of those, where that would not be it.
    """

    name: str
    is_met: bool
    wanted: Any = None
    said: Any = None
    words: str = ""
    because: str = ""

    @property
    def needs(self) -> str:
        """What the job asks for: ``python at least 3.11``."""
        return self.words or _need(self.name, self.wanted)

    @property
    def has(self) -> str:
        """What the worker says of it, as ``3.9``; "" if nothing."""
        if self.said is None:
            return ""
        said = _show(self.said)
        return show_bytes(int(said)) if _wants_size(self.wanted) and _BYTES.fullmatch(said) else said

    @property
    def sentence(self) -> str:
        """What is wrong; "" if the condition is met."""
        if self.is_met:
            return ""
        has = f"the worker does not say its {self.name}" if self.said is None else f"the worker has {self.has}"
        return self.because or f"needs {self.needs}, {has}"


def conditions(
    job_requires: Mapping[str, Any], job_properties: Mapping[str, Any], worker_properties: Mapping[str, Any]
) -> Iterator[Condition]:
    """Every condition of the job, met by the worker or not. The worker fits if all are met.

    ``job_properties.is_controller`` must equal the worker's; absent is false (Job Orchestra's rule). ``job_requires``
    maps a property to a value, to a list of which any will do, or to comparisons of dotted numbers such as ``>=3.11``
    or ``>=3.11,<4`` (a tail such as ``-rc1`` is not looked at), or of sizes such as ``>=8GiB`` with bytes. A property
    that is a list meets a condition when one of its items does. Values are compared as text, so that ``8`` and
    ``"8"``, and true and ``"true"``, are the same.
    """
    wants, has = _is_true(job_properties.get(CONTROLLER)), _is_true(worker_properties.get(CONTROLLER))
    if wants or has:
        said = worker_properties.get(CONTROLLER)
        yield Condition(CONTROLLER, wants == has, wants, said, because=_WRONG_KIND[wants])
    for name, wanted in job_requires.items():
        said = worker_properties.get(name)
        yield Condition(name, said is not None and _meets(wanted, said), wanted, said)


def check_requirement(name: str, wanted: Any) -> None:
    """Raises Invalid when a value of ``requires`` is none that :func:`conditions` can compare."""
    items = wanted if isinstance(wanted, list) else [wanted]
    if not items:
        raise Invalid(f"requires {name}: an empty list matches no worker")
    for item in items:
        if not isinstance(item, (str, int, float, bool)):
            raise Invalid(f"requires {name}: use a text, a number, true, false or a list of them")
        if isinstance(item, str) and item.lstrip()[:1] in ("<", ">", "=", "!"):
            for operator, operand in _comparisons(item) or [("", "")]:
                if not operator or (operator not in ("==", "!=") and _dotted(operand, whole=True) is None):
                    raise Invalid(
                        f"requires {name}: {item[:60]!r} is no comparison, as '>=3.11', '>=3.11,<4' or '>=8GiB' are"
                    )


def _meets(wanted: Any, has: Any) -> bool:
    if isinstance(wanted, list):
        return any(_meets(item, has) for item in wanted)
    if isinstance(has, list):
        return any(_meets(wanted, item) for item in has)
    comparisons = _comparisons(wanted) if isinstance(wanted, str) else None
    if comparisons is None:
        return _text(wanted) == _text(has)
    return all(_compare(operator, operand, _text(has)) for operator, operand in comparisons)


def _comparisons(wanted: str) -> list[tuple[str, str]] | None:
    """``>=3.11,<4`` as pairs; None when the text is a plain value."""
    found = []
    for part in wanted.split(","):
        match = _COMPARISON.fullmatch(part)
        if match is None:
            return None
        found.append((match[1], match[2]))
    return found


def _compare(operator: str, operand: str, has: str) -> bool:
    left, right = _dotted(has), _dotted(operand, whole=True)
    if left is None or right is None:
        return (operator == "==" and has == operand) or (operator == "!=" and has != operand)
    match operator:
        case ">=":
            return left >= right
        case "<=":
            return left <= right
        case ">":
            return left > right
        case "<":
            return left < right
        case "==":
            return left == right
        case _:
            return left != right


def _dotted(text: str, *, whole: bool = False) -> tuple[int, ...] | None:
    """3.11.0 as (3, 11): zeros at the end say nothing. 8GiB as its bytes."""
    match = _DOTTED.fullmatch(text) if whole else _DOTTED.match(text)
    if (size := _size(text)) is not None:
        numbers = [size]
    elif match is not None:
        numbers = [int(part) for part in match[0].split(".")]
    else:
        return None
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers)


def _size(text: str) -> int | None:
    try:
        return parse_size(text) if text.endswith("B") else None
    except Invalid:
        return None


def _wants_size(wanted: Any) -> bool:
    if isinstance(wanted, list):
        return any(_wants_size(item) for item in wanted)
    comparisons = _comparisons(wanted) if isinstance(wanted, str) else None
    return any(_size(operand) is not None for _, operand in comparisons or ())


def _need(name: str, wanted: Any) -> str:
    if isinstance(wanted, list):
        return f"{name} = " + " or ".join(_show(item) for item in wanted)
    comparisons = _comparisons(wanted) if isinstance(wanted, str) else None
    if comparisons is not None:
        return f"{name} " + " and ".join(f"{_WORDS[operator]} {operand}" for operator, operand in comparisons)
    return f"{name} = {_show(wanted)}"


def _show(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(_show(item) for item in value[:10]) if value else "none"
    return _text(value)[:80] or "an empty text"


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


def _is_true(value: Any) -> bool:
    return value is True or value == "true"
