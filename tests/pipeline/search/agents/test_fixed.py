"""The given plan is played as it is, and what cannot be kept is refused by name."""

from pathlib import Path

import pytest

from pipeline.errors import ConfigError
from pipeline.search.agents import fixed
from pipeline.search_section import SearchSection
from tests.pipeline.search.toy import toy_env


def play(folder: Path, keep: dict[str, int]) -> dict[str, int]:
    env = toy_env(folder)
    fixed.search(env, SearchSection(agent="fixed", options={"keep": keep}), 0, folder)
    assert len(env.log.episodes) == 1
    return env.log.last.plan


def test_what_is_named_is_kept_so_and_the_rest_is_whole(tmp_path: Path) -> None:
    assert play(tmp_path, {"b": 5}) == {"a": 16, "b": 5, "c": 16}  # 5 is no count that the grid offers


@pytest.mark.parametrize(
    ("keep", "message"),
    [
        ({"d": 4}, r"keep: 'd' is nothing that may be pruned here; known: a, b, c"),
        ({"a": 17}, r"keep: a has 16, and cannot keep 17; keep 1 to that"),
        ({"a": 0}, r"options of fixed: keep\.a: .* greater than or equal to 1"),
    ],
)
def test_what_cannot_be_kept_is_refused(tmp_path: Path, keep: dict[str, int], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        play(tmp_path, keep)
