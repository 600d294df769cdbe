"""000_accc842e532b0134 (Lee et al., Explainable Pruning for Deep Neural Networks Using RL): the poster.

Naive removal of channels and its collapse; the linear policy against the deep one; importance of features with and
without L1. The poster shows curves without numbers, apart from one: 73.4% at 50% of a MobileNet's FLOPs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pipeline.config import BaselineSection, DataSection, FinetuneSection, ModelSection
from pipeline.reproduce import naive_removal, policies
from pipeline.reproduce.context import Context
from pipeline.reproduce.naive_removal import IMPORTANCES, Removal
from pipeline.reproduce.network import NetworkSettings
from pipeline.reproduce.policies import OPTIONS, Policies
from pipeline.reproduce.purl_networks import MOBILENET_V1_SMALL, RESNET50_SMALL, SMOKE
from pipeline.reproduce.scale import Scale
from pipeline.reproduce.table import Cell, Column, Figures, FinishedCell, Results, Table, percent
from pipeline.search_section import RecoverSection
from pipeline.section import Section

if TYPE_CHECKING:
    from matplotlib.figure import Figure

OF_POLICY = ("top1", "dense_top1", "macs", "mean_reward", "greedy_reward", "stability", "features")


class Settings(Section):
    removal: Removal
    policies: Policies


def cells(settings: Settings, seeds: int) -> Sequence[Cell]:
    removal: list[Cell] = [
        {"part": "removal", "importance": one, "seed": seed} for seed in range(seeds) for one in IMPORTANCES
    ]
    learned: list[Cell] = [{"part": "policy", "policy": one, "seed": seed} for seed in range(seeds) for one in OPTIONS]
    return [*removal, *learned]


def run(cell: Cell, context: Context[Settings]) -> Results:
    seed = int(cell["seed"])
    if cell["part"] == "removal":
        return naive_removal.run(context.settings.removal, str(cell["importance"]), seed, context)
    return policies.run(context.settings.policies, str(cell["policy"]), seed, context)


def rows(cell: Cell, results: Results | None) -> Mapping[str, Figures]:
    if cell["part"] == "policy":
        label = _policy_row(str(cell["policy"]))
        missing = results.get("missing", {}) if results else {}
        return {label: {key: results[key] if results else None for key in OF_POLICY} | {"missing": missing}}
    points = results["points"] if results else ()
    return {
        f"{cell['importance']}, {point['share']:.0%} of the channels removed": {
            **{key: point[key] for key in ("speedup", "raw_top1", "top1")},
            "dense_top1": results["dense_top1"] if results else None,
        }
        for point in points
    }


def _policy_row(policy: str) -> str:
    return f"policy {policy}, half of the MACs"


def depends(cell: Cell, settings: Settings) -> Any:
    return settings.removal if cell["part"] == "removal" else settings.policies


def findings(finished: Sequence[FinishedCell]) -> Sequence[str]:
    removal, learned = _parts(finished)
    return [*naive_removal.findings(removal), *policies.findings(learned)]


def pictures(finished: Sequence[FinishedCell]) -> Mapping[str, Figure]:
    removal, learned = _parts(finished)
    drawn = {"removal": naive_removal.picture(removal)} if removal else {}
    if learned:
        drawn |= {"learning": policies.learning_picture(learned), "importance": policies.importance_picture(learned)}
    return drawn


def _parts(finished: Sequence[FinishedCell]) -> tuple[list[FinishedCell], list[FinishedCell]]:
    removal = [line for line in finished if line.cell["part"] == "removal"]
    return removal, [line for line in finished if line.cell["part"] == "policy"]


def _scales() -> Iterator[tuple[Scale, Settings]]:
    yield (
        Scale.smoke,
        Settings(
            removal=Removal(network=SMOKE, shares=(0.2, 0.5), recovery=FinetuneSection(epochs=1)),
            policies=Policies(
                network=SMOKE,
                episodes=8,
                recover=RecoverSection(images=64),
                finetune=FinetuneSection(epochs=1),
            ),
        ),
    )
    yield (
        Scale.small,
        Settings(
            removal=Removal(
                network=RESNET50_SMALL,
                shares=(0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7),
                recovery=FinetuneSection(epochs=1, learning_rate=0.02),
            ),
            policies=Policies(
                network=MOBILENET_V1_SMALL,
                episodes=200,
                recover=RecoverSection(images=256),
                finetune=FinetuneSection(epochs=6, learning_rate=0.02),
            ),
        ),
    )
    yield Scale.paper, _paper()


def _paper() -> Settings:
    data = DataSection(name="imagefolder", image_size=224, root="data/imagenet-200")
    baseline = BaselineSection(epochs=10, batch_size=256, learning_rate=0.02)

    def network(name: str) -> NetworkSettings:
        return NetworkSettings(model=ModelSection(name=name, weights="imagenet"), data=data, baseline=baseline)

    return Settings(
        removal=Removal(
            network=network("resnet50"),
            shares=(0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7),
            recovery=FinetuneSection(epochs=1, batch_size=256, learning_rate=0.01),
        ),
        policies=Policies(
            network=network("mobilenet_v2"),
            round_to=8,
            episodes=400,
            recover=RecoverSection(images=2_048),
            finetune=FinetuneSection(epochs=30, batch_size=256, learning_rate=0.01),
        ),
    )


TABLE = Table(
    title="Explainable pruning: naive removal, the linear policy, its features",
    source="000_accc842e532b0134, Lee et al., Explainable Pruning, a poster",
    scales=dict(_scales()),
    cells=cells,
    run=run,
    columns=(
        percent("dense_top1", "dense top-1"),
        percent("raw_top1", "not retrained"),
        percent("top1", "top-1"),
        Column("speedup", "MACs, 1/x", 2),
        percent("macs", "MACs left"),
        Column("mean_reward", "reward, all episodes", 3),
        Column("greedy_reward", "reward, greedy", 3),
        Column("stability", "stability", 2),
        Column("features", "features", 1),
    ),
    paper={_policy_row(policies.LINEAR): {"macs": 0.5, "top1": 0.734}},
    rows=rows,
    depends=depends,
    pictures=pictures,
    findings=findings,
    notes=(
        "Removal: every channel group loses the same share, each time from the dense network; top-1 is after one epoch "
        "of retraining. The poster's is of ResNet-50 on 200 classes of ImageNet, and gives no numbers.",
        "Policies: top-1 of the best plan, fine-tuned. The poster names neither the MobileNet nor its dense accuracy, "
        "gives no hyperparameters, and does not say how much its L1 weighs.",
        "At the scale `paper` the classifier of the 200 classes is new and trained for ten epochs, where the poster "
        "takes the one of 1,000 classes.",
        "Stability: how alike the shares of importance of any two episodes are, 1 is the same; features: how many have "
        "any. The poster calls importance stable or not without a measure.",
    ),
)
