"""What a run folder holds, read back through the records that it was written with.

This is the one place that knows the names of the files; `stored.py` knows those of their values. A stage that has not
run is a gap that the report names; a file that is there and does not read is an error.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, TypeAdapter, ValidationError

from device_bench.records import ComparisonResult, Measurement
from pipeline.config import Config, load_config
from pipeline.errors import ConfigError, DamagedFileError, StorageError
from pipeline.explanations import Explanation
from pipeline.records import Artifact, BenchLine, Episode, Evaluation, PruningPlan
from pipeline.report.stored import (
    DeviceNoise,
    GroupCount,
    LatencyTables,
    Manifest,
    SearchSummary,
    StageDone,
    TableError,
    VariantRecord,
)

STAGES = ("baseline", "profile", "search", "finetune", "export", "bench")


@dataclass(frozen=True)
class ArtifactResult:
    artifact: Artifact
    measurements: tuple[Measurement, ...]


@dataclass(frozen=True)
class VariantResult:
    record: VariantRecord
    artifacts: tuple[ArtifactResult, ...]

    @property
    def name(self) -> str:
        return self.record.name


@dataclass(frozen=True)
class Results:
    """Everything that a report shows; what a run has not reached is None or empty."""

    folder: str
    """The name of the run folder."""
    config: Config
    manifest: Manifest
    stage_seconds: dict[str, float | None]
    """Of the stages that are complete, in their order."""
    latency_tables: LatencyTables | None
    device_noise: tuple[DeviceNoise, ...]
    """Of each device, under the search's spec; empty where the search asked no table."""
    episodes: tuple[Episode, ...]
    search: SearchSummary | None
    explanations: tuple[Explanation, ...]
    """Of the agent's own plan, in the order of the network; empty where the agent leaves none."""
    variants: tuple[VariantResult, ...]
    comparisons: tuple[ComparisonResult, ...]
    """The interleaved ones, one for each device."""
    strays: tuple[str, ...]
    """Measured files that `export/artifacts.json` does not know."""

    @property
    def table_error(self) -> TableError | None:
        """Of the worst table, on variants that it was not fitted on; None where none was fitted."""
        found = self.search.latency_table_error if self.search else None
        return found or (self.latency_tables.error if self.latency_tables else None)

    @property
    def missing_stages(self) -> tuple[str, ...]:
        return tuple(stage for stage in STAGES if stage not in self.stage_seconds)

    def variant(self, name: str) -> VariantResult | None:
        return next((variant for variant in self.variants if variant.name == name), None)


def read_results(run_dir: Path) -> Results:
    """Read a run folder, however far the run got.

    Raises:
        StorageError: the folder is not a run.
        DamagedFileError: a stored file does not read as what its stage writes.
    """
    for name in ("config.yaml", "manifest.json"):
        if not (run_dir / name).is_file():
            raise StorageError(
                f"{run_dir}: not a run folder ({name} is missing); give a folder that `pocketprune run` wrote"
            )
    done = [stage for stage in STAGES if (run_dir / stage / "done.json").is_file()]
    export, bench = run_dir / "export", run_dir / "bench"
    lines = _read_lines(BenchLine, bench / "measurements.jsonl") if "bench" in done else ()
    artifacts = _read_list(Artifact, export / "artifacts.json") if "export" in done else ()
    records = _read_list(VariantRecord, export / "variants.json") if "export" in done else _unexported(run_dir, done)
    known = {artifact.path for artifact in artifacts}
    profile = run_dir / "profile"
    noise, explained = profile / "noise.json", run_dir / "search" / "explanations.json"
    return Results(
        folder=run_dir.resolve().name,
        config=_read_config(run_dir / "config.yaml"),
        manifest=_read(Manifest, run_dir / "manifest.json"),
        stage_seconds={stage: _read(StageDone, run_dir / stage / "done.json").seconds for stage in done},
        latency_tables=_read(LatencyTables, profile / "latency_table.json") if "profile" in done else None,
        device_noise=_read_list(DeviceNoise, noise) if "profile" in done and noise.is_file() else (),
        episodes=_read_lines(Episode, run_dir / "search" / "episodes.jsonl") if "search" in done else (),
        search=_read(SearchSummary, run_dir / "search" / "summary.json") if "search" in done else None,
        explanations=_read_list(Explanation, explained) if "search" in done and explained.is_file() else (),
        variants=tuple(_with_artifacts(record, artifacts, lines) for record in records),
        comparisons=tuple(
            _read(ComparisonResult, path) for path in sorted(bench.glob("comparison*.json")) if "bench" in done
        ),
        strays=tuple(dict.fromkeys(line.artifact for line in lines if line.artifact not in known)),
    )


def _with_artifacts(
    record: VariantRecord, artifacts: tuple[Artifact, ...], lines: tuple[BenchLine, ...]
) -> VariantResult:
    return VariantResult(
        record,
        tuple(
            ArtifactResult(artifact, tuple(line.measurement for line in lines if line.artifact == artifact.path))
            for artifact in artifacts
            if artifact.variant == record.name
        ),
    )


def _unexported(run_dir: Path, done: list[str]) -> tuple[VariantRecord, ...]:
    """The variants of a run that stopped before export: no parameters or MACs are known yet."""
    if "baseline" not in done:
        return ()
    variants = [VariantRecord(name="dense", evaluation=_read(Evaluation, run_dir / "baseline" / "evaluation.json"))]
    if "finetune" in done:
        folder = run_dir / "finetune"
        controls = {path.parent.name: path for path in sorted(folder.glob("*/plan.json"))}
        plans = {**controls, "pruned": folder / "plan.json"}
    elif "search" in done:
        folder = run_dir / "search"
        plans = {path.stem: path for path in sorted((folder / "controls").glob("*.json"))}
        plans["pruned"] = folder / "plan.json"
    else:
        plans = {}
    for name, path in plans.items():
        plan = _read(PruningPlan, path)
        groups = {
            group: GroupCount(channels=kept.channels, kept_count=len(kept.kept)) for group, kept in plan.groups.items()
        }
        evaluation = _read(Evaluation, path.parent / "evaluation.json") if "finetune" in done else None
        relative = str(path.relative_to(run_dir))
        variants.append(
            VariantRecord(name=name, plan=relative, evaluation=evaluation, groups=groups, weights=plan.weights)
        )
    return tuple(variants)


def _read_config(path: Path) -> Config:
    try:
        return load_config(path)
    except ConfigError as error:
        raise DamagedFileError(
            f"{error}; this run was written by another version: run it again to report it"
        ) from error


def _read[R: BaseModel](record: type[R], path: Path) -> R:
    return _parse(record, _text(path), str(path))


def _read_lines[R: BaseModel](record: type[R], path: Path) -> tuple[R, ...]:
    lines = enumerate(_text(path).splitlines(), start=1)
    return tuple(_parse(record, line, f"{path}, line {number}") for number, line in lines if line.strip())


def _read_list[R: BaseModel](record: type[R], path: Path) -> tuple[R, ...]:
    try:
        return TypeAdapter(tuple[record, ...]).validate_json(_text(path))  # type: ignore[valid-type]
    except ValidationError as error:
        raise _damaged(f"list of {record.__name__}", str(path), error) from error


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DamagedFileError(f"{path}: cannot be read ({error}); `pocketprune run` rebuilds it") from error


def _parse[R: BaseModel](record: type[R], text: str, source: str) -> R:
    try:
        return record.model_validate_json(text)
    except ValidationError as error:
        raise _damaged(record.__name__, source, error) from error


def _damaged(kind: str, source: str, error: ValidationError) -> DamagedFileError:
    problems = "; ".join(
        f"{'.'.join(str(part) for part in problem['loc']) or 'file'}: {problem['msg']}"
        for problem in error.errors()[:3]
    )
    return DamagedFileError(
        f"{source}: not a {kind} ({problems}); delete the folder of its stage and `pocketprune run` rebuilds it"
    )
