"""The log of a search: one episode a line, flushed before the agent goes on, and played back on resume."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from pipeline.records import Episode
from pipeline.run_folder import append_json_line, read_json_lines


class EpisodeLog:
    """`episodes` have been walked in this process; those that the file already held are recalled, not done again."""

    def __init__(self, path: Path, on_episode: Callable[[Episode], None] | None = None) -> None:
        self._path = path
        self._on_episode = on_episode
        self._stored = read_json_lines(Episode, path)
        self.episodes: list[Episode] = []

    def recorded(self) -> Episode | None:
        """The stored episode that the next walk must repeat, or None if it is a new one."""
        position = len(self.episodes)
        return self._stored[position] if position < len(self._stored) else None

    def advance(self, make: Callable[[int], Episode]) -> None:
        """Close the walk: the stored episode again, or `make(index)`, which is written down first."""
        episode = self.recorded()
        if episode is None:
            episode = make(len(self.episodes))
            append_json_line(self._path, episode)
        self.episodes.append(episode)
        if self._on_episode:
            self._on_episode(episode)

    @property
    def last(self) -> Episode:
        return self.episodes[-1]


def in_words(episode: Episode) -> str:
    """One episode in a few words."""
    assert episode.evaluation is not None
    if episode.failure is not None:
        return f"episode {episode.index}: {episode.failure}"
    what = {"latency": "the latency", "macs": "the MACs", "sparsity": "the weights"}[episode.steps[-1].cost]
    return f"episode {episode.index}: {episode.evaluation.top1:.1%} at {episode.cost_ratio:.2f} of {what}"
