"""Each mistake in a project file is one clear message with file, line and reason, and changes nothing (D3, F40)."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance.model.errors import Invalid
from tests.bad_project_files import BAD, EXPECTED_BESIDE, Bad
from tests.configuration_place import WEBSITE, ConfigurationPlace


def test_there_are_at_least_60_of_them_and_each_has_its_own_name() -> None:
    assert len({one.name for one in BAD}) == len(BAD) >= 60


@pytest.mark.parametrize("bad", BAD, ids=[one.name.replace(" ", "-") for one in BAD])
def test_fault_F40_a_bad_project_file_is_one_message_and_changes_nothing(bad: Bad, tmp_path: Path) -> None:
    place = ConfigurationPlace(tmp_path)
    place.load(WEBSITE)
    before, told = place.configuration.in_force(), len(place.seen)
    file = place.write(bad.text, f"bad{bad.suffix}")

    found = [one for one in place.projects.read([file]).findings if not one.sentence.endswith(EXPECTED_BESIDE)]
    assert len(found) == 1, [str(one) for one in found]
    assert (found[0].file, found[0].line, found[0].subject) == (str(file), bad.line, bad.subject), str(found[0])
    assert bad.words in found[0].sentence
    assert "\n" not in str(found[0]) and len(str(found[0])) < 400 + len(str(file))

    with pytest.raises(Invalid, match="nothing was changed") as refused:
        place.configuration.apply("ada")
    where = f"{file}:{bad.line}" if bad.line else str(file)
    assert bad.words in refused.value.errors[where]
    assert place.configuration.in_force() == before
    assert len(place.seen) == told, "nobody is told of a change that was none"
