"""PuRL's Tables 3 and 6: its plan against one that takes the same share of every layer, fine-tuned alike.

The paper's baseline is pruned to the target, which PuRL's own plan need not meet. So there is a second baseline here,
with as many zeros as PuRL's plan has. Both are retrained after each layer, as the averaged sequence is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pipeline.errors import SearchError
from pipeline.reproduce.context import Context
from pipeline.reproduce.purl import (
    FINAL,
    PurlSettings,
    configuration,
    dense_top1,
    outcome_of,
    put_through,
    search_in_rounds,
)
from pipeline.reproduce.table import Cell, FinishedCell, Results, percent

if TYPE_CHECKING:
    from pipeline.subject import Subject

PURL, UNIFORM, UNIFORM_ALIKE = "PuRL", "uniform", "uniform, as sparse as PuRL"
COLUMNS = (
    percent("sparsity", "sparsity"),
    percent("dense_top1", "dense top-1"),
    percent("pruned_top1", "before fine-tuning"),
    percent("top1", "top-1"),
)


def cells(settings: PurlSettings, seeds: int) -> Sequence[Cell]:
    return [{"row": row, "seed": seed} for seed in range(seeds) for row in (PURL, UNIFORM, UNIFORM_ALIKE)]


def run(cell: Cell, context: Context[PurlSettings]) -> Results:
    settings, seed = context.settings, int(cell["seed"])
    if cell["row"] == PURL:
        results, _ = search_in_rounds(settings, FINAL, seed, context)
        return results
    target = settings.sparsities[-1]
    if cell["row"] == UNIFORM_ALIKE:
        found = context.finished({**cell, "row": PURL})
        if found is None:
            raise SearchError(f"{PURL} has not been run for seed {seed}, and this row has its sparsity: run that first")
        if found["sparsity"] is None:
            reason = f"{PURL}'s search ended in no plan"
            none = dict.fromkeys(("sparsity", "top1", "pruned_top1"))
            return {**none, "missing": dict.fromkeys((*none, "dense_top1"), reason)}
        target = float(found["sparsity"])
    subject = context.subject(configuration(settings, FINAL, seed))
    return _uniform(subject, target, context)


def _uniform(subject: Subject, target: float, context: Context[PurlSettings]) -> dict[str, Any]:
    from pipeline.pruning.weights import weight_layers
    from pipeline.search.weight_rounds import uniform_kept

    layers = weight_layers(subject.network, subject.input_shape)
    kept = uniform_kept(subject.network, layers, sum(layer.size for layer in layers), target)
    context.progress.update(f"uniform at {target:.1%}")
    pruned = put_through(subject, subject.network, layers, kept, episode=0)
    outcome, _ = outcome_of(subject, pruned, context.settings, context.folder, context)
    return {**outcome.model_dump(mode="json"), "dense_top1": dense_top1(subject)}


def findings(finished: Sequence[FinishedCell]) -> Sequence[str]:
    """Seed by seed, what PuRL gained over each baseline."""
    by_cell = {(str(line.cell["row"]), int(line.cell["seed"])): line.results for line in finished}
    sentences = []
    for (row, seed), ours in by_cell.items():
        if row != PURL:
            continue
        if ours["top1"] is None:
            sentences.append(f"Seed {seed}: PuRL's search ended in no plan: {ours['missing']['top1']}.")
            continue
        sentences += [
            _against(seed, ours, baseline, by_cell[baseline, seed])
            for baseline in (UNIFORM, UNIFORM_ALIKE)
            if (baseline, seed) in by_cell
        ]
    return sentences


def _against(seed: int, ours: Results, baseline: str, theirs: Results) -> str:
    accuracy = 100 * (ours["top1"] - theirs["top1"])
    sparsity = 100 * (ours["sparsity"] - theirs["sparsity"])
    alike = baseline == UNIFORM_ALIKE
    if alike:
        better = "PuRL is the better one" if accuracy > 0 else "PuRL is not the better one"
    elif accuracy > 0 and sparsity >= 0:
        better = "PuRL is better in both, as in the paper"
    elif accuracy <= 0 and sparsity < 0:
        better = "PuRL is worse in both, where in the paper it is better in both"
    else:
        better = "neither is better in both, where in the paper PuRL is"
    given_up = f" {ours['given_up']} of {len(ours['rewards'])} episodes were given up." if ours["given_up"] else ""
    return (
        f"Seed {seed}: PuRL against {baseline}: {accuracy:+.1f} points of top-1 ({ours['top1']:.1%} against "
        f"{theirs['top1']:.1%}) at {sparsity:+.1f} points of sparsity: {better}.{given_up}"
    )
