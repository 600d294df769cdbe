"""A model file before it is measured: is it what its name says, and does its sidecar belong to it?"""

from __future__ import annotations

import hashlib
from pathlib import Path

from device_bench.errors import UsageError
from device_bench.records import ArtifactInfo
from device_bench.sidecar import Sidecar, read_sidecar, sidecar_path
from device_bench.tflite import check_whole

TFLITE = b"TFL3"


def check_file(path: Path) -> None:
    """Refuse what is not there, or is a folder."""
    if not path.exists():
        raise UsageError(f"{path}: no such file; give the path of a model file")
    if path.is_dir():
        raise UsageError(f"{path}: is a folder; give the path of a model file")


def check_tflite(path: Path) -> None:
    """Refuse what is certainly no TFLite file: bytes 4 to 8, its identifier, are TFL3, and it is whole.

    Raises:
        UsageError: it is not there, is a folder, cannot be read, or is something else.
    """
    if path.suffix in (".mlpackage", ".mlmodelc"):
        raise UsageError(f"{path}: a Core ML model runs on Apple's systems only; give a .tflite file to this device")
    check_file(path)
    try:
        found = _identifier(path)
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror}); give the path of a .tflite file") from error
    if found != TFLITE:
        raise UsageError(f"{path}: not a TFLite file (bytes 4 to 8 are {found!r}, not {TFLITE!r}); export it to TFLite")
    check_whole(path)


def is_tflite(path: Path) -> bool:
    """Whether a file that can be read calls itself one of TFLite."""
    return path.is_file() and _identifier(path) == TFLITE


def _identifier(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(8)[4:]


def check_coreml(path: Path) -> None:
    """Refuse what is certainly no Core ML model: an .mlpackage and a compiled .mlmodelc are folders of a known shape.

    Raises:
        UsageError: it is not there, or is something else.
    """
    inside = {".mlpackage": "Manifest.json", ".mlmodelc": "coremldata.bin"}
    if path.suffix == ".tflite":
        raise UsageError(f"{path}: a TFLite file; this device runs Core ML: give it the .mlpackage of the same network")
    if path.suffix not in inside:
        raise UsageError(f"{path}: not a Core ML model; give a .mlpackage, or a compiled .mlmodelc")
    if not path.exists():
        raise UsageError(f"{path}: no such file; give the path of a .mlpackage or .mlmodelc")
    if not (path / inside[path.suffix]).is_file():
        raise UsageError(f"{path}: not a whole {path.suffix} (no {inside[path.suffix]} in it); export the model again")


def fingerprint(path: Path) -> tuple[str, int]:
    """(sha256, size in bytes) of a model file, or of a folder such as an .mlpackage, which counts as one file.

    A folder's is the sha256 over `<name>\\0<sha256>\\n` of its files in the order of names; macOS's Finder leaves
    .DS_Store files wherever somebody looked, and they are no part of it.
    """
    if path.is_file():
        return _file_sha256(path), path.stat().st_size
    files = {file.relative_to(path).as_posix(): file for file in path.rglob("*") if file.is_file()}
    digest, size_bytes = hashlib.sha256(), 0
    for name in sorted(name for name, file in files.items() if file.name != ".DS_Store"):
        digest.update(f"{name}\0{_file_sha256(files[name])}\n".encode())
        size_bytes += files[name].stat().st_size
    return digest.hexdigest(), size_bytes


def _file_sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def describe(path: Path) -> tuple[ArtifactInfo, Sidecar | None]:
    """What the file is, and its sidecar where it has one.

    Raises:
        UsageError: the sidecar is none, or belongs to another file.
    """
    sha256, size_bytes = fingerprint(path)
    sidecar = read_sidecar(path)
    if sidecar is not None and sidecar.sha256 != sha256:
        raise UsageError(
            f"{sidecar_path(path)}: written for another file (sha256 {sidecar.sha256[:12]}, the file's is "
            f"{sha256[:12]}); export the model again or remove the sidecar"
        )
    return ArtifactInfo(
        path=str(path),
        sha256=sha256,
        format=sidecar.format if sidecar else path.suffix.lstrip("."),
        precision=sidecar.precision if sidecar else None,
        size_bytes=size_bytes,
    ), sidecar
