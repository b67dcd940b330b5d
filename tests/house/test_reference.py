"""The reference pages say what the code does. After a change: ``python -m tests.house.reference``."""

from __future__ import annotations

import re

import msgspec
import pytest

from appliance.model import schema, templates
from tests.house import project_files, reference
from tests.house.repository_tree import ROOT, source


@pytest.mark.parametrize("page", sorted(reference.PAGES))
def test_a_reference_page_is_what_the_code_says(page: str) -> None:
    assert (ROOT / page).read_text("utf-8") == reference.PAGES[page](), "run python -m tests.house.reference"


def test_the_diagram_of_the_run_states_is_that_of_the_code() -> None:
    found = reference.DIAGRAM.search(reference.LIFE.read_text("utf-8"))
    assert found is not None
    assert found[0] == reference.diagram(), "run python -m tests.house.reference"


def test_every_variable_that_the_settings_come_from_is_in_the_reference() -> None:
    read = re.findall(r'"((?:ORCHESTRA|XDG|[A-Z]+)_[A-Z_]+)"', source(ROOT / "appliance" / "config.py"))
    assert set(read) == set(reference.ENVIRONMENT)


def test_the_reference_of_project_files_describes_each_key_field_and_variable_and_no_other() -> None:
    shown = [(set(meanings), shape.__struct_encode_fields__) for shape, (_, meanings) in project_files.PARTS.items()]
    assert [keys for keys, _ in shown] == [set(fields) for _, fields in shown]
    assert set(project_files.FIELDS) == set(project_files.names()) == templates.COMMAND_NAMES
    assert set(project_files.VARIABLES) == project_files.variables()


def test_every_shape_of_a_project_file_has_a_part_of_the_reference() -> None:
    shapes = {one for one in vars(schema).values() if isinstance(one, type) and issubclass(one, msgspec.Struct)}
    assert set(project_files.PARTS) == shapes - {msgspec.Struct}
