"""The picture of what each feature asked for in each layer, for the page and as a PNG: pulls left, share kept right."""

from __future__ import annotations

from html import escape
from typing import Any

from matplotlib.figure import Figure as Picture

from pipeline.report.figures import finish, new_figure, plain
from pipeline.report.frame import INK, PAPER, RULE, Figure, axis, new_layout
from pipeline.report.reasons import Reasons
from pipeline.report.series import COLOUR_LATENCY, COLOUR_REWARD

# Paul Tol's muted scheme: nine tones that every common colour blindness tells apart.
TONES = ("#332288", "#88ccee", "#cc6677", "#ddcc77", "#117733", "#aa4499", "#44aa99", "#882255", "#999933")
ROW_PX, FRAME_PX = 20, 250
ROW_INCHES, FRAME_INCHES = 0.17, 1.6
PULL, KEPT = "prune \u2190 asked to \u2192 keep", "Kept, %"
OWN, WON, TOGETHER = "kept by the plan that is explained", "kept by the plan that won", "all features together"


def reason_chart(found: Reasons | None) -> Figure | None:
    """Bars of a site are stacked, to the left what asked for more pruning and to the right what asked for less."""
    if found is None:
        return None
    sites = [escape(site) for site in found.sites]
    bars = [_bar(name, sites, values, tone) for (name, values), tone in zip(found.pulls.items(), TONES, strict=False)]
    together = _marks(TOGETHER, sites, found.together, "x", "diamond-tall", INK, "%{y}: %{x:+.3g}")
    together["marker"] |= {"size": 12, "line": {"width": 1, "color": PAPER}}
    share = "%{y}: keeps %{x:.0f}%"
    kept = [_marks(_own(found), sites, [100 * one for one in found.kept], "x2", "circle", COLOUR_REWARD, share)]
    if found.won:
        kept.append(_marks(WON, sites, [100 * one for one in found.won], "x2", "square-open", COLOUR_LATENCY, share))
    # The first on top.
    rows = axis("", type="category", range=[len(sites) - 0.4, -0.6], tickfont={"size": 10}, dtick=1)
    layout = new_layout(
        xaxis=axis(
            "<br>".join((PULL, *map(escape, found.unit))), domain=[0, 0.7], zeroline=True, zerolinecolor=RULE, nticks=7
        ),
        xaxis2=axis(KEPT, domain=[0.76, 1], anchor="y", range=[-10, 110], tickvals=[0, 50, 100]),
        yaxis=rows,
        barmode="relative",
        bargap=0.3,
        height=FRAME_PX + ROW_PX * len(sites),
    )
    return {"data": [*bars, together, *kept], "layout": layout}


def _own(found: Reasons) -> str:
    """What the kept shares are called: with nothing beside them they need no telling apart."""
    return OWN if found.won else "share kept"


def _bar(name: str, sites: list[str], values: tuple[float, ...], tone: str) -> Figure:
    return {
        "type": "bar",
        "orientation": "h",
        "name": escape(name),
        "x": list(values),
        "y": sites,
        "marker": {"color": tone, "line": {"color": PAPER, "width": 0.5}},
        "hovertemplate": "%{y}<br>%{fullData.name}: %{x:+.3g}<extra></extra>",
    }


def _marks(name: str, sites: list[str], x: Any, xaxis: str, symbol: str, tone: str, hover: str) -> Figure:
    return {
        "type": "scatter",
        "mode": "markers",
        "name": name,
        "x": list(x),
        "y": sites,
        "xaxis": xaxis,
        "marker": {"color": tone, "size": 8, "symbol": symbol},
        "hovertemplate": f"{hover}<extra>{name}</extra>",
    }


def reason_picture(found: Reasons | None) -> Picture | None:
    if found is None:
        return None
    places = range(len(found.sites))
    legend = (len(found.pulls) + 3) * ROW_INCHES / 2
    figure = new_figure(FRAME_INCHES + legend + ROW_INCHES * len(found.sites))
    pulls, kept = figure.subplots(1, 2, sharey=True, width_ratios=(3, 1))
    ends = {side: [0.0] * len(found.sites) for side in (-1, 1)}
    for (name, values), tone in zip(found.pulls.items(), TONES, strict=False):
        sides = [1 if value >= 0 else -1 for value in values]
        starts = [ends[side][place] for place, side in enumerate(sides)]
        pulls.barh(places, values, 0.7, left=starts, color=tone, edgecolor="white", linewidth=0.4, label=plain(name))
        for place, (side, value) in enumerate(zip(sides, values, strict=True)):
            ends[side][place] += value
    pulls.plot(found.together, places, "d", color=INK, mec="white", mew=0.7, ms=7, label=TOGETHER)
    pulls.axvline(0, color=RULE, linewidth=1)
    kept.plot([100 * one for one in found.kept], places, "o", color=COLOUR_REWARD, ms=4, label=_own(found))
    if found.won:
        won = [100 * one for one in found.won]
        kept.plot(won, places, "s", mfc="none", color=COLOUR_LATENCY, ms=5, label=WON)
    pulls.set_yticks(places, [plain(site) for site in found.sites], fontsize=7)
    pulls.set_ylim(len(found.sites) - 0.4, -0.6)  # the first on top
    pulls.set(xlabel="\n".join((PULL, *found.unit)))
    kept.set(xlabel=KEPT, xlim=(-6, 106))
    return finish(figure, legend_columns=2)
