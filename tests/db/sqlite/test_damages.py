"""Two hundred damages of the database file: none is served from or changed, and the text says what to do (F20)."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import apsw
import pytest

from appliance.db.sqlite import SqliteRepository
from appliance.model.errors import Unusable
from tests.db.sqlite.transactions import dump
from tests.db.values import add, ended, running

PAGE = 4096
_ends: Counter[str] = Counter()

Damage = Callable[[bytearray, random.Random], None]


def flip_bits(content: bytearray, chance: random.Random) -> None:
    for _ in range(chance.choice((1, 3, 40))):
        content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)


def flip_a_bit_of_structure(content: bytearray, chance: random.Random) -> None:
    """In the head of a page, where SQLite keeps its trees."""
    page = PAGE * chance.randrange(len(content) // PAGE)
    content[page + (100 if page == 0 else 0) + chance.randrange(12)] ^= 1 << chance.randrange(8)


def overwrite(content: bytearray, chance: random.Random) -> None:
    size = chance.choice((20, 200, PAGE))
    place = chance.randrange(len(content) - size)
    content[place : place + size] = chance.randbytes(size)


def blank_a_page(content: bytearray, chance: random.Random) -> None:
    page = PAGE * chance.randrange(len(content) // PAGE)
    content[page : page + PAGE] = bytes(PAGE)


def swap_pages(content: bytearray, chance: random.Random) -> None:
    one, two = (PAGE * number for number in chance.sample(range(len(content) // PAGE), 2))
    content[one : one + PAGE], content[two : two + PAGE] = content[two : two + PAGE], content[one : one + PAGE]


def truncate(content: bytearray, chance: random.Random) -> None:
    del content[chance.randrange(1, len(content)) :]


def lose_last_pages(content: bytearray, chance: random.Random) -> None:
    del content[PAGE * chance.randrange(1, len(content) // PAGE) :]


def empty(content: bytearray, chance: random.Random) -> None:
    content.clear()


def become_text(content: bytearray, chance: random.Random) -> None:
    content[:] = b"not a database at all " * chance.randrange(1, 2000)


def set_newer_schema(content: bytearray, chance: random.Random) -> None:
    content[60:64] = chance.randrange(100, 1 << 31).to_bytes(4, "big")


def set_other_application(content: bytearray, chance: random.Random) -> None:
    content[68:72] = chance.randrange(1 << 32).to_bytes(4, "big")


DAMAGES: tuple[Damage, ...] = (
    flip_bits,
    flip_a_bit_of_structure,
    overwrite,
    blank_a_page,
    swap_pages,
    truncate,
    lose_last_pages,
    empty,
    become_text,
    set_newer_schema,
    set_other_application,
)
CERTAIN = {empty, become_text, set_newer_schema, set_other_application, lose_last_pages}
CASES = [(damage, seed) for seed in range(19) for damage in DAMAGES][:200]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A database with some runs, written back."""
    path = tmp_path_factory.mktemp("whole") / "orchestra.db"
    repository = SqliteRepository(path)
    repository.open()
    for number in range(30):
        run = add(repository, job=f"job-{number % 3}", parameters={"text": "x" * 200})
        if number % 2:
            run = running(repository, run)
            assert repository.runs.finish(ended(run), [], '{"a":1}', run.version)
    repository.close()
    return path.read_bytes()


@pytest.fixture(scope="module", autouse=True)
def figures() -> Iterator[None]:
    """Print how they ended."""
    yield
    print(f"{len(CASES)} damages: {dict(_ends)}")


@pytest.mark.parametrize(("damage", "seed"), CASES, ids=[f"{damage.__name__}-{seed}" for damage, seed in CASES])
def test_fault_F20_nothing_is_served_from_a_damaged_file(path: Path, whole: bytes, damage: Damage, seed: int) -> None:
    content = bytearray(whole)
    damage(content, random.Random(f"{damage.__name__} {seed}"))
    path.write_bytes(content)
    path.chmod(0o600)
    repository = SqliteRepository(path)
    try:
        repository.open()
    except Unusable as error:
        _ends["refused"] += 1
        assert path.read_bytes() == content
        assert f"restore the newest good backup: orchestra --data {path.parent} restore FILE" in str(error)
        assert "\n" not in str(error)
        return
    # The damage lay in bytes that hold nothing, or within a value, which SQLite has no checksums for.
    assert damage not in CERTAIN
    try:
        assert repository.check() == []
        _ends["not seen by SQLite"] += 1
        dump(repository)
    finally:
        repository.close()


def test_fault_F20_a_foreign_database_is_left_as_it_is(path: Path) -> None:
    connection = apsw.Connection(str(path))
    connection.execute("CREATE TABLE theirs (x); INSERT INTO theirs VALUES (1)")
    connection.close()
    path.chmod(0o600)
    before = path.read_bytes()
    with pytest.raises(Unusable, match="no database of the appliance"):
        SqliteRepository(path).open()
    assert path.read_bytes() == before
