"""How far the figures can be trusted: what a device shows at all, what was repeated or rejected, how a table erred."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from device_bench.records import LatencyStats, Measurement, NoiseFloor, kind_of
from pipeline.report.details import Facts, Grid, number_of
from pipeline.report.results import Results
from pipeline.report.rows import Row
from pipeline.report.stored import LatencyTable, SearchSummary
from pipeline.report.table import method_words
from pipeline.report.table_facts import device_words, hybrid_words, table_errors, table_facts
from pipeline.report.text import DASH, fine_percent, interval, number, one_line

NOISE_NOTE = (
    "Noise floor: two copies of one file differ by less in 95% of comparisons, so a ratio nearer to 1 means nothing. "
    "Found in 90%: the smallest true difference that nine of ten comparisons call one."
)


@dataclass(frozen=True)
class Trust:
    """The section's parts; what the run knows nothing of is None or empty."""

    lead: str
    noise: Grid | None
    processes: Grid | None
    search: Facts
    tables: tuple[tuple[str, Facts], ...]
    """One for each device, under its name."""
    table_errors: Grid | None
    energy: Grid | None
    hybrid_words: str
    """What the picture of the table's errors during the search shows."""
    stairs_of: str
    """The device whose staircases are drawn."""


def build_trust(results: Results, rows: tuple[Row, ...]) -> Trust:
    tables = results.latency_tables.tables if results.latency_tables else ()
    return Trust(
        lead=_lead(results),
        noise=_noise(results),
        processes=_processes(rows),
        search=_search(results),
        tables=tuple((device_words(table), table_facts(table)) for table in tables),
        table_errors=table_errors(tables, results.search),
        energy=_energy(results.search),
        hybrid_words=hybrid_words(results.search),
        stairs_of=next((device_words(table) for table in tables if table.staircases), ""),
    )


def known_noise(results: Results) -> list[tuple[str, str, NoiseFloor | str]]:
    """(what it is of, device, the floor or why it is not known): the final comparisons', then the search's."""
    names = {table.device.id: device_words(table) for table in _tables(results)}
    found: list[tuple[str, str, NoiseFloor | str]] = []
    for result in results.comparisons:
        if result.measurements:
            device = result.measurements[0].device
            names[device.id] = f"{one_line(device.model, 60)} ({device.kind})"
            known = result.device_noise or result.missing["device_noise"]
            found.append(("final comparison", names[device.id], known))
    for noise in results.device_noise:
        found.append(("search", names.get(noise.device, noise.device), noise.floor or noise.missing))
    return found


def _tables(results: Results) -> tuple[LatencyTable, ...]:
    return results.latency_tables.tables if results.latency_tables else ()


def _lead(results: Results) -> str:
    """What difference can be told on each device, in a sentence each; the final comparison's floor goes first."""
    known = known_noise(results)
    said: dict[str, str] = {}
    for of, device, floor in known:
        if isinstance(floor, NoiseFloor) and device not in said:
            count = f"{floor.processes} process{'es' if floor.processes > 1 else ''}"
            said[device] = (
                f"Differences below {fine_percent(floor.floor)}% cannot be told on {device} with {count} ({of}); "
                f"a true {fine_percent(floor.visible)}% is found in nine of ten."
            )
    reasons = [floor for _, _, floor in known if isinstance(floor, str)]
    unknown = f"The noise floor is not known: {one_line(reasons[0])}." if reasons else "No noise floor is stored."
    return " ".join(said.values()) or unknown


def _noise(results: Results) -> Grid | None:
    known = known_noise(results)
    if not any(isinstance(floor, NoiseFloor) for _, _, floor in known):
        return None  # the sentence above has the reason
    return Grid(
        title="What can be told apart",
        align="llrrrrl",
        heads=(
            "Asked by",
            "Device",
            "Processes",
            "Noise floor, %",
            "95% interval",
            "Found in 90%, %",
            "Learned from",
        ),
        rows=tuple((of, device, *_noise_cells(floor)) for of, device, floor in known),
        note=NOISE_NOTE,
    )


def _noise_cells(floor: NoiseFloor | str) -> tuple[str, ...]:
    if isinstance(floor, str):
        return DASH, DASH, DASH, DASH, f"not known: {one_line(floor)}"
    low, high = floor.models_ms
    span = number(low) if number(low) == number(high) else f"{number(low)} to {number(high)}"
    days = dict.fromkeys(day[:10] for day in floor.period)
    learned = f"{floor.n} processes in {floor.sittings} sittings, {' to '.join(days)}, models of {span} ms"
    return (
        number_of(floor.processes),
        fine_percent(floor.floor),
        interval((100 * floor.ci95[0], 100 * floor.ci95[1]), 2),
        fine_percent(floor.visible),
        learned,
    )


def _processes(rows: tuple[Row, ...]) -> Grid | None:
    measured = [(row, row.measurement) for row in rows if row.measurement]
    if not measured:
        return None
    counted = sum(len(measurement.latency_ms.processes) for _, measurement in measured)
    aside = [process.reasons for _, measurement in measured for process in measurement.rejected]
    return Grid(
        title="Processes of each measurement",
        align="llrrlrl",
        heads=("Artifact", "Device", "Counted", "Repeated", "Why repeated", "Median known to, %", "Mark"),
        rows=tuple(_process_line(row, measurement) for row, measurement in measured),
        note=f"{counted} processes counted; {len(aside)} were put aside and repeated"
        f"{f' ({counted_reasons(aside)})' if aside else ''}. Known to: half the 95% interval over the median.",
    )


def _process_line(row: Row, measurement: Measurement) -> tuple[str, ...]:
    aside = [process.reasons for process in measurement.rejected]
    width = half_width(measurement.latency_ms)
    verdict = "" if measurement.valid else "; ".join(measurement.rejections)
    return (
        row.label,
        measurement.device.kind,
        number_of(len(measurement.latency_ms.processes)),
        number_of(len(aside)),
        counted_reasons(aside),
        fine_percent(width) if width is not None else "no interval",
        one_line(verdict if measurement.believed else f"rejected: {verdict}"),
    )


def half_width(stats: LatencyStats) -> float | None:
    """Of the median's interval, over the median; None where one of them is not known."""
    if stats.ci95 is None or not stats.median:
        return None
    return (stats.ci95[1] - stats.ci95[0]) / 2 / stats.median


def counted_reasons(rejected: Iterable[tuple[str, ...]]) -> str:
    """Such as `busy 3, stolen 1`: how often each kind of reason was given, the most frequent first."""
    counts = Counter(one_line(kind_of(reason), 40) for reasons in rejected for reason in reasons)
    return ", ".join(f"{kind} {count}" for kind, count in counts.most_common())


def paid_by_table(results: Results) -> int | None:
    """Episodes of a hybrid search whose measurement was rejected, so that the table paid; None in other searches."""
    if results.search is None or results.search.latency_source != "hybrid":
        return None
    return sum(1 for episode in results.episodes if episode.latency_source == "table" and episode.failure is None)


def _search(results: Results) -> Facts:
    search = results.search
    if search is None or search.cost == "sparsity":  # which measures nothing
        return ()
    rejected = search.rejected_measurements
    why = counted_reasons(line.reasons for line in rejected or ())
    facts = [
        ("Networks measured in the search", number_of(search.device_measurements)),
        ("Known less exactly than asked for (unstable)", number_of(search.unstable_measurements)),
        ("Processes put aside and repeated", number_of(search.repeated_processes)),
        (
            "Rejected, and never rewarded",
            DASH if rejected is None else f"{len(rejected):,}" + (f" ({why})" if why else ""),
        ),
    ]
    paid = paid_by_table(results)
    if paid is not None:
        facts.append(("Episodes that the latency table paid, their measurement being rejected", number_of(paid)))
    return tuple(facts)


def _energy(search: SearchSummary | None) -> Grid | None:
    energy = search.energy if search else None
    if energy is None:
        return None
    method = method_words(energy.method)
    kept = f"{number(energy.ratio)} (at most {number(energy.target_ratio)} asked)"
    return Grid(
        title=f"Energy of one inference on {one_line(energy.device_spec, 60)}",
        align="lrrll",
        heads=("Network", "Energy, mJ", "95% interval", "Of dense", "Method"),
        rows=(
            ("dense", number(energy.dense_mj), interval(energy.dense_ci95), "1", method),
            ("pruned (as searched)", number(energy.mj), interval(energy.ci95), kept, method),
        ),
        note=f"Energy was {100 * energy.share:g}% of the cost in the reward, latency the rest. It was measured at the "
        "end of every episode; between, at each step, a model of it that goes by the latency was paid.",
    )
