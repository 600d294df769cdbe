from pathlib import Path

from device_bench.sidecar import read_sidecar
from pipeline.export.sample import export_sample


def test_the_sample_computes_something_to_compare(tmp_path: Path) -> None:
    files = export_sample(tmp_path, ("tflite",))
    assert [path.name for path in files] == ["sample-fp32.tflite", "sample-int8.tflite"]
    for path in files:
        sidecar = read_sidecar(path)
        assert sidecar and sidecar.golden
        assert all(abs(output.to_array()).max() > 0.01 for output in sidecar.golden.outputs)
