"""What `pocketprune compare` compares: model files, and runs, which stand for the files that they exported."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from pipeline.errors import ConfigError, DamagedFileError, StorageError
from pipeline.records import Artifact

MODEL_FOLDERS = (".mlpackage", ".mlmodelc")
PRECISIONS = ("fp32", "fp32-sparse")
"""The precision that a search is paid for and that a run compares itself, also stored without zeros."""


@dataclass(frozen=True)
class Contenders:
    """Model files, the baseline first; `left_out` says which files of a run are not among them, and why."""

    paths: tuple[Path, ...]
    left_out: tuple[str, ...]

    def names(self) -> list[str]:
        """The shortest ends of the paths that tell them apart; what is there twice gets a number.

        A run's folder `export` is left out: `a/dense-fp32.tflite` is a file of the run `a`.
        """
        parts = [[part for part in path.parts if part != "export"] for path in self.paths]
        depth, longest = 1, max(map(len, parts))
        names = [path.name for path in self.paths]
        while depth < longest and len(set(names)) < len(set(self.paths)):
            depth += 1
            names = [
                "/".join(own[-depth:]) if names.count(name) > 1 else name
                for own, name in zip(parts, names, strict=True)
            ]
        return [f"{name} ({names[:i].count(name) + 1})" if name in names[:i] else name for i, name in enumerate(names)]


def find_contenders(arguments: Sequence[Path], baseline: str | None = None) -> Contenders:
    """The model files that the arguments stand for, in their order.

    Args:
        baseline: number (from 1), path, name or stem of what the others are compared with; the first by default.

    Raises:
        ConfigError: `baseline` names none of them, or several.
        StorageError: a folder is no run that has exported, or none of its files may be compared.
    """
    paths: list[Path] = []
    left_out: list[str] = []
    for argument in arguments:
        if not argument.is_dir() or argument.suffix in MODEL_FOLDERS:
            paths.append(argument)
            continue
        artifacts = _exported(argument)
        right = comparable(artifacts)
        if not right:
            raise StorageError(
                f"{argument}: exported no fp32 TFLite file that passed parity; name the files to compare"
            )
        paths += [argument / artifact.path for artifact in right]
        left_out += [f"{argument / one.path}: {_fault(one)}" for one in _candidates(artifacts) if one not in right]
    found = Contenders(tuple(paths), tuple(left_out))
    if baseline is not None:
        first = _chosen(found, baseline)
        paths.insert(0, paths.pop(first))
        found = Contenders(tuple(paths), tuple(left_out))
    return found


def comparable(artifacts: Sequence[Artifact]) -> list[Artifact]:
    """Files that compute the right thing, in the precision that networks are compared in and in their order."""
    return [one for one in _candidates(artifacts) if one.evaluation is not None and one.parity.passed is not False]


def _candidates(artifacts: Sequence[Artifact]) -> list[Artifact]:
    return [one for one in artifacts if one.format == "tflite" and one.precision in PRECISIONS]


def _fault(artifact: Artifact) -> str:
    if artifact.evaluation is None:
        return artifact.missing.get("evaluation", "not evaluated")
    return f"failed parity: {artifact.parity.reason}"


def _exported(run: Path) -> tuple[Artifact, ...]:
    listed = run / "export" / "artifacts.json"
    if not listed.is_file():
        raise StorageError(
            f"{run}: a folder without {listed.relative_to(run)}; give a run that has exported, or model files"
        )
    try:
        return TypeAdapter(tuple[Artifact, ...]).validate_json(listed.read_text())
    except (ValidationError, UnicodeDecodeError) as error:
        raise DamagedFileError(f"{listed}: not what a run writes; `pocketprune run` rebuilds it") from error


def _chosen(found: Contenders, baseline: str) -> int:
    """Index of the baseline; a name comes before a number."""
    names = found.names()
    matching = [
        i
        for i, (path, name) in enumerate(zip(found.paths, names, strict=True))
        if baseline in (str(path), name, path.name, path.stem)
    ]
    if not matching and baseline.isdecimal() and 1 <= int(baseline) <= len(names):
        return int(baseline) - 1
    if len(matching) != 1:
        known = ", ".join(f"{i} {name}" for i, name in enumerate(names, 1))
        rule = "names several" if matching else "is none"
        raise ConfigError(f"--baseline {baseline!r} {rule} of the files; give a number or a name of: {known}")
    return matching[0]
