import hashlib
from pathlib import Path

import pytest

from device_bench.errors import UsageError
from device_bench.modelfile import check_coreml, check_tflite, describe, fingerprint


def package(folder: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


FILES = {"Manifest.json": b"{}", "Data/model.mlmodel": b"program", "Data/weights/weight.bin": bytes(1000)}


def test_a_folder_counts_as_one_file(tmp_path: Path):
    path = package(tmp_path / "net.mlpackage", FILES)
    lines = [f"{name}\0{hashlib.sha256(FILES[name]).hexdigest()}\n" for name in sorted(FILES)]
    assert fingerprint(path) == (hashlib.sha256("".join(lines).encode()).hexdigest(), 2 + 7 + 1000)
    artifact, sidecar = describe(path)
    assert (artifact.sha256, artifact.size_bytes) == fingerprint(path)
    assert artifact.format == "mlpackage" and sidecar is None


def test_a_folders_identity_is_its_names_and_contents(tmp_path: Path):
    one = fingerprint(package(tmp_path / "one.mlpackage", FILES))
    assert fingerprint(package(tmp_path / "two.mlpackage", dict(reversed(FILES.items())))) == one
    assert fingerprint(package(tmp_path / "seen.mlpackage", {**FILES, "Data/.DS_Store": b"Finder was here"})) == one
    renamed = {("Data/net.mlmodel" if name == "Data/model.mlmodel" else name): FILES[name] for name in FILES}
    changed = {**FILES, "Data/model.mlmodel": b"Program"}
    identities = {fingerprint(package(tmp_path / f"{i}", files))[0] for i, files in enumerate((renamed, changed))}
    assert len(identities | {one[0]}) == 3


def test_a_file_is_hashed_as_it_is(tmp_path: Path):
    (tmp_path / "net.tflite").write_bytes(b"abc")
    assert fingerprint(tmp_path / "net.tflite") == (hashlib.sha256(b"abc").hexdigest(), 3)


def test_core_ml_models_pass(tmp_path: Path):
    check_coreml(package(tmp_path / "net.mlpackage", FILES))
    check_coreml(package(tmp_path / "net.mlmodelc", {"coremldata.bin": b""}))


@pytest.mark.parametrize(
    ("name", "files", "message"),
    [
        ("missing.mlpackage", None, "no such file"),
        ("missing.tflite", None, "give it the .mlpackage"),
        ("net.onnx", None, "not a Core ML model; give a .mlpackage"),
        ("net.mlpackage", {"Data/model.mlmodel": b""}, r"no Manifest\.json in it"),
        ("net.mlmodelc", {"model.mil": b""}, r"no coremldata\.bin in it"),
    ],
)
def test_what_is_no_core_ml_model_is_refused(tmp_path: Path, name, files, message):
    path = package(tmp_path / name, files) if files else tmp_path / name
    with pytest.raises(UsageError, match=message) as caught:
        check_coreml(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("share", [0.05, 0.5, 0.99])
def test_a_file_that_ends_too_early_is_refused_before_a_runner_dies_of_it(tiny_tflite, tmp_path, share):
    content = tiny_tflite.read_bytes()
    (tmp_path / "short.tflite").write_bytes(content[: int(len(content) * share)])
    check_tflite(tiny_tflite)
    with pytest.raises(UsageError, match=r"short\.tflite: not a whole TFLite file"):
        check_tflite(tmp_path / "short.tflite")
