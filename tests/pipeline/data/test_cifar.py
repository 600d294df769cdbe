from __future__ import annotations

import os
import pickle
from pathlib import Path

import numpy as np
import pytest

from pipeline.config import DataSection
from pipeline.data import load_data
from pipeline.data.cifar import load_plain_pickle
from pipeline.errors import DataError
from tests.pipeline.data.samples import CIFAR_LAYOUTS, CIFAR_PER_FILE, make_cifar, write_python2_pickle


@pytest.mark.parametrize("binary", [True, False], ids=["binary", "python"])
@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
def test_pixels_and_labels_are_those_of_the_files(name: str, binary: bool, tmp_path: Path) -> None:
    written = make_cifar(name, tmp_path, binary)
    data = load_data(DataSection(name=name, image_size=32, root=str(tmp_path), options={"validation": 15}), seed=0)
    n_train = CIFAR_PER_FILE * len(CIFAR_LAYOUTS[name].train_files)
    assert (len(data.train), len(data.validation), len(data.test)) == (n_train - 15, 15, CIFAR_PER_FILE)
    assert len(data.classes) == (10 if name == "cifar10" else 100)
    assert data.classes[3] == "class3"
    pixels, labels = written[CIFAR_LAYOUTS[name].test_file]
    assert np.array_equal(data.test.images().numpy(), pixels.reshape(-1, 3, 32, 32))
    assert np.array_equal(data.test.labels, labels)
    label_of = {
        row.tobytes(): label
        for file in CIFAR_LAYOUTS[name].train_files
        for row, label in zip(*written[file], strict=True)
    }
    for split in (data.train, data.validation):
        found = [label_of[image.numpy().tobytes()] for image in split.images()]
        assert found == split.labels.tolist()


def test_the_folder_itself_or_its_parent_or_data_here_will_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_cifar("cifar10", tmp_path / "data", binary=True)
    monkeypatch.chdir(tmp_path)
    for root in (None, "data", "data/cifar-10-batches-bin"):
        section = DataSection(name="cifar10", root=root, options={"validation": 15})
        assert len(load_data(section, seed=0).test) == CIFAR_PER_FILE


class Evil:
    def __reduce__(self):
        return os.system, ("touch pwned",)


class EvilArray:
    """Harmless names around a callable that is not."""

    def __reduce__(self):
        return eval, ("__import__('pathlib').Path('pwned').touch()",)


@pytest.mark.parametrize("evil", [Evil(), EvilArray(), {"data": [Evil()]}, np.array([Evil()], dtype=object)])
def test_a_pickle_that_would_run_code_is_refused(evil, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    make_cifar("cifar10", tmp_path, binary=False)
    bad = tmp_path / "cifar-10-batches-py" / "data_batch_3"
    bad.write_bytes(pickle.dumps(evil))
    with pytest.raises(DataError, match=r"data_batch_3: is no plain pickle .*(posix\.system|builtins\.eval)"):
        load_data(DataSection(name="cifar10", root=str(tmp_path), options={"validation": 5}), seed=0)
    assert not (tmp_path / "pwned").exists()


def test_pickles_of_python_3_are_read_too(tmp_path: Path) -> None:
    path = tmp_path / "plain"
    path.write_bytes(pickle.dumps({b"data": np.arange(6, dtype=np.uint8).reshape(2, 3), b"labels": [1, 2]}))
    content = load_plain_pickle(path)
    assert content[b"data"].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert content[b"labels"] == [1, 2]


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-7])


FAULTS = {
    "binary file cut": (True, lambda folder: cut(folder / "data_batch_2.bin"), r"data_batch_2\.bin: .* damaged"),
    "binary file empty": (True, lambda folder: (folder / "test_batch.bin").write_bytes(b""), "damaged"),
    "binary file absent": (True, lambda folder: (folder / "data_batch_4.bin").unlink(), "cannot be read"),
    "names absent": (True, lambda folder: (folder / "batches.meta.txt").unlink(), "cannot be read"),
    "fewer names": (True, lambda folder: (folder / "batches.meta.txt").write_text("a\nb\n"), "labels do not fit"),
    "pickle cut": (False, lambda folder: cut(folder / "data_batch_1"), "data_batch_1: is no plain pickle"),
    "pickle of another thing": (False, lambda folder: write_python2_pickle(folder / "data_batch_1", [1]), "lacks data"),
    "names of another kind": (
        False,
        lambda folder: write_python2_pickle(folder / "batches.meta", {"label_names": 3}),
        "lacks the list",
    ),
    "wrong shape": (
        False,
        lambda folder: write_python2_pickle(
            folder / "data_batch_1", {"data": np.zeros((3, 5), np.uint8), "labels": [0, 0, 0]}
        ),
        r"holds uint8 \(3, 5\)",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_damaged_files_are_named(fault: str, tmp_path: Path) -> None:
    binary, damage, message = FAULTS[fault]
    make_cifar("cifar10", tmp_path, binary)
    damage(tmp_path / ("cifar-10-batches-bin" if binary else "cifar-10-batches-py"))
    with pytest.raises(DataError, match=message) as raised:
        load_data(DataSection(name="cifar10", root=str(tmp_path), options={"validation": 5}), seed=0)
    assert str(tmp_path) in str(raised.value)


def test_absent_files_tell_what_to_put_where(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for root in (None, str(tmp_path / "nowhere")):
        with pytest.raises(DataError) as raised:
            load_data(DataSection(name="cifar100", root=root), seed=0)
        for part in (
            str(tmp_path),
            "https://www.cs.toronto.edu/~kriz/cifar.html",
            "cifar-100-binary.tar.gz",
            "data.root",
        ):
            assert part in str(raised.value)


def test_validation_must_leave_images_to_train_on(tmp_path: Path) -> None:
    make_cifar("cifar100", tmp_path, binary=True)
    with pytest.raises(DataError, match=r"validation: 40 must be less than the 40"):
        load_data(DataSection(name="cifar100", root=str(tmp_path), options={"validation": 40}), seed=0)
