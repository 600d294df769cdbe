import pytest
from hypothesis import given
from hypothesis import strategies as st

from device_bench.device import Missing
from device_bench.probes.memory import app_memory, memory_use, status_mb
from device_bench.records import MemoryUse
from tests.device_bench.probes import dumps

# /proc/self/status of Linux 6.18, shortened
STATUS = """Name:\tpython3
VmPeak:\t   64480 kB
VmSize:\t   64480 kB
VmHWM:\t   52660 kB
VmRSS:\t   41256 kB
RssAnon:\t   30000 kB
Threads:\t1
"""


def test_reads_what_the_kernel_prints():
    assert status_mb(STATUS, "VmHWM") == 52660 / 1024
    assert status_mb(STATUS, "VmRSS") == 41256 / 1024
    assert status_mb(STATUS, "VmSwap") is None


@given(st.text(), st.integers(0, 2**40), st.text())
def test_finds_its_line_among_any_others(before, kilobytes, after):
    text = f"{before}\nVmHWM:\t{kilobytes:8} kB\n{after}"
    if "VmHWM" not in before:
        assert status_mb(text, "VmHWM") == kilobytes / 1024


@given(st.text(), st.text())
def test_any_text_gives_a_figure_or_a_reason(before, after):
    use = memory_use(before, after)
    assert (isinstance(use, Missing) and use.reason) or isinstance(use, MemoryUse)


def test_model_is_the_peak_less_what_was_there_before():
    use = memory_use("VmRSS:\t2048 kB\nVmHWM:\t9999 kB\n", "VmRSS:\t4096 kB\nVmHWM:\t5120 kB\n")
    assert isinstance(use, MemoryUse)
    assert (use.peak_rss_mb, use.model_mb) == (5.0, 3.0)


@pytest.mark.parametrize(
    ("before", "after", "reason"),
    [(None, None, "no /proc"), ("VmRSS:\t1 kB\n", "", "no VmHWM"), ("", "VmHWM:\t1 kB\n", "no VmRSS")],
)
def test_a_figure_that_cannot_be_had_says_why(before, after, reason):
    use = memory_use(before, after)
    assert isinstance(use, Missing) and reason in use.reason


@pytest.mark.parametrize("text", [dumps.MEMINFO, dumps.MEMINFO.partition(" App Summary")[0]])
def test_an_apps_memory_is_the_total_of_either_table(text):
    memory = app_memory(text)
    assert isinstance(memory, MemoryUse)
    assert (memory.peak_rss_mb, memory.model_mb) == (80.0, None)
    assert "not its peak" in memory.method


@pytest.mark.parametrize("text", ["", "No process found for: 4321", "TOTAL PSS: 0", "TOTAL PSS: ,", "TOTAL PSS: x"])
def test_an_app_that_is_gone_has_no_memory(text):
    memory = app_memory(text)
    assert isinstance(memory, Missing) and "not running" in memory.reason


@given(st.text())
def test_garbage_for_an_app_is_never_an_error(text):
    memory = app_memory(text)
    assert memory.reason if isinstance(memory, Missing) else memory.peak_rss_mb >= 0
