"""Texts that many runs share (names, versions, sources), each stored once under a small number.

Words are never changed or deleted, so what was once read of them is remembered for good; but only by readers, who see
nothing that could still be rolled back.
"""

from __future__ import annotations

from collections.abc import Collection

import apsw
import msgspec

from appliance.model.entities import Exit, Source
from appliance.model.errors import Unavailable

_TEXT = "SELECT text FROM word WHERE word = ?"
_NUMBER = "SELECT word FROM word WHERE text = ?"
_INSERT = "INSERT INTO word (text) VALUES (?) RETURNING word"
_SOME = "SELECT text, word FROM word WHERE text IN (SELECT value FROM json_each(?))"

_source = msgspec.json.Decoder(Source).decode
_exit = msgspec.json.Decoder(Exit).decode


class Words:
    """What is remembered of the words of one open database."""

    def __init__(self) -> None:
        self._texts: dict[int, str] = {}
        self._numbers: dict[str, int] = {}
        self._sources: dict[int, Source] = {}
        self._exits: dict[int, Exit] = {}

    def forget(self) -> None:
        """Another file may be opened now."""
        self._texts.clear()
        self._numbers.clear()
        self._sources.clear()
        self._exits.clear()

    def number(self, connection: apsw.Connection, text: str) -> int:
        """The number of a word, new if need be. For verbs."""
        number = self._numbers.get(text)
        if number is None:
            number = connection.execute(_NUMBER, (text,)).get
        if number is None:
            number = connection.execute(_INSERT, (text,)).get
        return number

    def number_or_none(self, connection: apsw.Connection, text: str | None) -> int | None:
        """As :meth:`number`."""
        return None if text is None else self.number(connection, text)

    def text(self, connection: apsw.Connection, number: int) -> str:
        """A word by its number. For readers."""
        text: str | None = self._texts.get(number)
        if text is None:
            text = connection.execute(_TEXT, (number,)).get
            if text is None:  # foreign keys keep that from happening
                raise Unavailable(f"storage error, a run lacks word {number}: restore the newest good backup")
            self._keep(number, text)
        return text

    def source(self, connection: apsw.Connection, number: int) -> Source:
        """The source that a word spells in JSON. For readers."""
        source = self._sources.get(number)
        if source is None:
            source = self._sources[number] = _source(self.text(connection, number))
        return source

    def exit(self, connection: apsw.Connection, number: int) -> Exit:
        """The exit that a word spells in JSON. For readers."""
        found = self._exits.get(number)
        if found is None:
            found = self._exits[number] = _exit(self.text(connection, number))
        return found

    def known(self, connection: apsw.Connection, texts: Collection[str]) -> list[int]:
        """The numbers of those texts that are words at all, in order. For readers."""
        missing = [text for text in texts if text not in self._numbers]
        if missing:
            for text, number in connection.execute(_SOME, (msgspec.json.encode(missing).decode(),)):
                self._keep(number, text)
        return sorted({self._numbers[text] for text in texts if text in self._numbers})

    def _keep(self, number: int, text: str) -> None:
        self._texts[number] = text
        self._numbers[text] = number
