"""Patterns for parameter values, matched in linear time whatever the pattern and the value (S-31, S-64).

Python's own ``re`` backtracks: ``(a+)+`` or ``a*a*a*b`` lets one short value stop a thread. Here a pattern becomes a
set of states (Thompson's way) of which all live ones step together, so a value of n characters costs at most n times
the number of states. The language is the part of Python's that this can serve, with Python's meaning: literals, ``.``,
escapes such as ``\\w``, sets such as ``[\\w./-]``, groups ``(...)`` and ``(?:...)``, ``|`` and the quantifiers
``* + ? {m} {m,} {m,n}``. Back-references, look-around, anchors inside, flags and lazy forms are refused; a ``^`` at the
begin and a ``$`` at the end are allowed and say nothing, because a value is always matched whole.
"""

from __future__ import annotations

import functools
import re
import warnings
from collections.abc import Callable

from appliance.model.errors import Invalid

PATTERN_LIMIT = 500  # characters
STATES = 600  # after counted repeats are written out; 4,096 characters then cost well under a second

_SET = re.compile(r"\[\^?\]?(?:[^\]\\\[]|\\.)*\]", re.DOTALL)
_ESCAPES = frozenset("wWdDsStnrfv")  # besides these only punctuation may stand behind a backslash
_COUNT = re.compile(r"\{([0-9]{1,4})(?:(,)([0-9]{0,4}))?\}")
_DEPTH = 20  # groups inside each other

_Test = Callable[[str], object]


class Pattern:
    """A pattern that was read. Made by :func:`compile_pattern`."""

    def __init__(self, text: str, tests: list[_Test | None], edges: list[list[int]], start: int, end: int) -> None:
        self.text = text
        self._tests = tests
        self._edges = edges
        self._end = end
        self._closures: dict[int, frozenset[int]] = {}
        self._first = self._closure(start)

    def matches(self, value: str) -> bool:
        """Whether the whole value fits."""
        steps: dict[tuple[frozenset[int], str], frozenset[int]] = {}
        live = self._first
        for character in value:
            key = (live, character)
            after = steps.get(key)
            if after is None:
                after = steps[key] = self._step(live, character)
            if not after:
                return False
            live = after
        return self._end in live

    def _step(self, live: frozenset[int], character: str) -> frozenset[int]:
        after: set[int] = set()
        for state in live:
            test = self._tests[state]
            if test is not None and test(character):
                after |= self._closure(self._edges[state][0])
        return frozenset(after)

    def _closure(self, state: int) -> frozenset[int]:
        """The states that wait for a character (or are the end), reached from ``state`` without one."""
        known = self._closures.get(state)
        if known is None:
            found, waiting, seen = set(), [state], {state}
            while waiting:
                now = waiting.pop()
                if self._tests[now] is not None or now == self._end:
                    found.add(now)
                    continue
                for onward in self._edges[now]:
                    if onward not in seen:
                        seen.add(onward)
                        waiting.append(onward)
            known = self._closures[state] = frozenset(found)
        return known


@functools.lru_cache(maxsize=500)
def compile_pattern(text: str) -> Pattern:
    """Read a pattern. Raises Invalid, saying what is not part of the language and where (position from 0)."""
    if len(text) > PATTERN_LIMIT:
        raise Invalid(f"the pattern is longer than {PATTERN_LIMIT} characters")
    return _Reader(text).read()


# The tree of a pattern: what a fragment must do, before states are made of it.
class _Node:
    """``kind``: one (``test``), row, choice (``parts``), repeat (``parts[0]``, ``least``, ``most``; None: no end)."""

    def __init__(
        self,
        kind: str,
        parts: list[_Node] | None = None,
        test: _Test | None = None,
        least: int = 0,
        most: int | None = None,
    ) -> None:
        self.kind, self.parts, self.test, self.least, self.most = kind, parts or [], test, least, most


class _Reader:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._tests: list[_Test | None] = []
        self._edges: list[list[int]] = []
        self._built = 0

    def read(self) -> Pattern:
        if self._text.startswith("^"):
            self._at = 1
        tree = self._choice(0)
        if self._at < len(self._text):
            raise self._refused("unmatched ')'")
        end = self._state()
        start = self._build(tree, end)
        return Pattern(self._text, self._tests, self._edges, start, end)

    def _choice(self, depth: int) -> _Node:
        if depth > _DEPTH:
            raise self._refused(f"more than {_DEPTH} groups inside each other")
        rows = [self._row(depth)]
        while self._peek() == "|":
            self._at += 1
            rows.append(self._row(depth))
        return rows[0] if len(rows) == 1 else _Node("choice", rows)

    def _row(self, depth: int) -> _Node:
        parts: list[_Node] = []
        while (character := self._peek()) not in ("", "|", ")"):
            if character == "$" and self._at == len(self._text) - 1 and depth == 0:
                self._at += 1
                break
            parts.append(self._quantified(self._atom(depth)))
        return _Node("row", parts)

    def _atom(self, depth: int) -> _Node:
        character, begin = self._peek(), self._at
        if character == "(":
            self._at += 3 if self._text.startswith("(?:", begin) else 1
            if self._peek() == "?":
                raise self._refused("of groups only (...) and (?:...) are allowed")
            inner = self._choice(depth + 1)
            if self._peek() != ")":
                raise self._refused("unmatched '('", begin)
            self._at += 1
            return inner
        if character in "*+?{":
            raise self._refused("a quantifier without something to repeat")
        if character in "^$":
            raise self._refused("anchors are not needed, a value is always matched whole")
        if character == "\\":
            self._at += 2
            escaped = self._text[begin + 1 : begin + 2]
            if escaped not in _ESCAPES and (escaped == "" or escaped.isalnum()):
                raise self._refused(f"the escape '\\{escaped}' is not allowed", begin)
        elif character == "[":
            found = _SET.match(self._text, begin)
            if found is None:
                raise self._refused("a set that does not end; write '[' as '\\['")
            self._check_set(found[0], begin)
            self._at = found.end()
        else:
            self._at += 1
        return _Node("one", test=self._single(self._text[begin : self._at], begin))

    def _check_set(self, text: str, begin: int) -> None:
        for escaped in re.findall(r"\\(.)", text, re.DOTALL):
            if escaped not in _ESCAPES and escaped.isalnum():
                raise self._refused(f"the escape '\\{escaped}' is not allowed", begin)

    def _single(self, text: str, begin: int) -> _Test:
        """The test for one character. Python's own engine decides; with one character it cannot backtrack."""
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error", FutureWarning)
                return re.compile(text).fullmatch
        except (re.error, FutureWarning) as error:
            raise self._refused(f"{text[:40]!r} cannot be read: {error}", begin) from None

    def _quantified(self, node: _Node) -> _Node:
        character = self._peek()
        if character not in ("*", "+", "?", "{"):
            return node
        if character == "{":
            count = _COUNT.match(self._text, self._at)
            if count is None:
                raise self._refused("'{' begins a count such as {1,64}; write the brace itself as '\\{'")
            least = int(count[1])
            most = least if count[2] is None else int(count[3]) if count[3] else None
            if most is not None and most < least:
                raise self._refused("a count that ends before it begins")
            self._at = count.end()
        else:
            least, most = {"*": (0, None), "+": (1, None), "?": (0, 1)}[character]
            self._at += 1
        if self._peek() in ("*", "+", "?", "{"):
            raise self._refused("a quantifier of a quantifier")
        return _Node("repeat", [node], least=least, most=most)

    def _build(self, node: _Node, onward: int) -> int:
        """States that do what the node says and then go to ``onward``; the first of them."""
        self._built += 1
        if self._built > 20 * STATES:  # counts of empty groups make work and no states
            raise self._too_large()
        if node.kind == "one":
            return self._state(node.test, onward)
        if node.kind == "row":
            for part in reversed(node.parts):
                onward = self._build(part, onward)
            return onward
        if node.kind == "choice":
            return self._state(None, *[self._build(part, onward) for part in node.parts])
        part = node.parts[0]
        if node.most is None:
            again = self._state()
            self._edges[again] += [self._build(part, again), onward]
            onward = again
        else:
            leave = onward
            for _ in range(node.most - node.least):
                onward = self._state(None, self._build(part, onward), leave)
        for _ in range(node.least):
            onward = self._build(part, onward)
        return onward

    def _state(self, test: _Test | None = None, *edges: int) -> int:
        if len(self._tests) >= STATES:
            raise self._too_large()
        self._tests.append(test)
        self._edges.append(list(edges))
        return len(self._tests) - 1

    def _too_large(self) -> Invalid:
        return Invalid(f"the pattern is too large: counts such as {{1,64}} may unfold to {STATES} states at most")

    def _peek(self) -> str:
        return self._text[self._at : self._at + 1]

    def _refused(self, why: str, at: int | None = None) -> Invalid:
        return Invalid(f"the pattern cannot be used: {why} at position {self._at if at is None else at}")
