"""Made-up messages of every type, by what its schema says: a type that is added is tested without a word here."""

from __future__ import annotations

import string
from typing import Any, get_args

import msgspec
from hypothesis import strategies as st
from msgspec import inspect

from appliance.wire import messages as m

RUN = "0b5ef0d1-7a29-4a8b-9d7e-3f5a4c1e2d60"
CAP = "c" * 64
FROM_WORKER: tuple[type[m.Message], ...] = get_args(m.FromWorker)
FROM_MASTER: tuple[type[m.Message], ...] = get_args(m.FromMaster)

_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(1 << 53), 1 << 53) | _TEXT, lambda inner: st.lists(inner, max_size=3)
)
_HEX = {
    f"^[0-9a-f]{{{size}}}(?!\\n)$": st.text(string.hexdigits[:16], min_size=size, max_size=size) for size in (32, 64)
}


def messages(kind: type[m.Message]) -> st.SearchStrategy[m.Message]:
    """Messages of this type, within its schema."""
    return _of(inspect.type_info(kind))


def one_of_each(kinds: tuple[type[m.Message], ...]) -> st.SearchStrategy[m.Message]:
    """Messages of any of these types."""
    return st.one_of([messages(kind) for kind in kinds])


def _of(shape: inspect.Type) -> st.SearchStrategy[Any]:
    match shape:
        case inspect.StructType(cls=cls, fields=fields):
            return st.builds(cls, **{field.name: _field(field) for field in fields})
        case inspect.StrType(pattern=None, max_length=longest):
            return st.text(st.characters(exclude_categories=["Cs"]), max_size=min(longest or 30, 30))
        case inspect.StrType(pattern=pattern) if pattern in _HEX:
            return _HEX[pattern]
        case inspect.StrType(pattern=pattern) if pattern and "|" in pattern:
            return st.sampled_from(pattern.partition("(")[2].partition(")")[0].split("|"))
        case inspect.StrType():
            return st.uuids().map(str)
        case inspect.IntType(ge=least, le=most):
            return st.integers(least, most)
        case inspect.FloatType(ge=least, le=most):
            return st.floats(least, most, allow_nan=False).map(lambda stamp: round(stamp, 3))
        case inspect.BoolType():
            return st.booleans()
        case inspect.NoneType():
            return st.none()
        case inspect.AnyType():
            return _VALUES
        case inspect.RawType():
            return st.dictionaries(_TEXT, _VALUES, max_size=3).map(
                lambda value: msgspec.Raw(msgspec.json.encode(value))
            )
        case inspect.UnionType(types=types):
            return st.one_of([_of(one) for one in types])
        case inspect.DictType(key_type=keys, value_type=values):
            return st.dictionaries(_of(keys), _of(values), max_size=4)
        case inspect.ListType(item_type=items):
            return st.lists(_of(items), max_size=4)
        case inspect.TupleType(item_types=items):
            return st.tuples(*map(_of, items))
    raise AssertionError(f"no values for {shape}")


def _field(field: inspect.Field) -> st.SearchStrategy[Any]:
    if field.default is not msgspec.NODEFAULT:
        return st.just(field.default) | _of(field.type)
    return _of(field.type)
