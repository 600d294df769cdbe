import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from device_bench.errors import UsageError
from device_bench.sidecar import Answers, Golden, Sidecar, SidecarAccuracy, TensorData, read_sidecar, sidecar_path


@given(
    st.sampled_from([np.float32, np.int8, np.uint8, np.int32]).flatmap(
        lambda dtype: arrays.arrays(dtype, arrays.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4))
    )
)
def test_an_array_comes_back_as_it_was(array: np.ndarray) -> None:
    back = TensorData.model_validate_json(TensorData.from_array(array).model_dump_json()).to_array()
    assert back.shape == array.shape and back.dtype == array.dtype
    assert back.tobytes() == array.tobytes()


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"shape": [1, 3, 3, 3]}, "needs 108 bytes"),
        ({"shape": [1, -2, -2, 3]}, "negative"),
        ({"shape": [2**40, 2**40]}, "bytes, data holds 48"),
        ({"dtype": "int8"}, "needs 12 bytes, data holds 48"),
        ({"data": "AAAA"}, "needs 48 bytes, data holds 3"),
        ({"data": "not base64!"}, "not base64"),
        ({"data": "AAA"}, "not base64"),
        ({"data": "\u00e9\u00e9\u00e9\u00e9"}, "not base64"),
    ],
)
def test_a_golden_array_of_another_size_is_a_usage_error(tmp_path: Path, change: dict, rule: str) -> None:
    array = TensorData.from_array(np.zeros((1, 2, 2, 3), np.float32))
    sidecar = Sidecar(
        sha256="0" * 64,
        format="tflite",
        precision="fp32",
        accuracy=None,
        preprocessing={},
        parity={},
        golden=Golden(inputs=(array,), outputs=(array,), max_rel_error=1e-3),
    )
    values = json.loads(sidecar.model_dump_json())
    values["golden"]["outputs"][0].update(change)
    model = tmp_path / "model.tflite"
    sidecar_path(model).write_text(json.dumps(values))
    with pytest.raises(UsageError, match=rule) as caught:
        read_sidecar(model)
    text = str(caught.value)
    assert "golden.outputs.0" in text and "export the model again" in text and "\n" not in text


RIGHT = np.arange(11) % 3 > 0  # 7 of 11


def with_accuracy(folder: Path, **changes: object) -> Path:
    """A model whose sidecar holds an accuracy, changed."""
    answers = Answers.from_array("a" * 64, RIGHT)
    accuracy = SidecarAccuracy(top1=7 / 11, top5=None, n=11, split="test", answers=answers)
    sidecar = Sidecar(
        sha256="0" * 64, format="tflite", precision="fp32", accuracy=accuracy, preprocessing={}, parity={}, golden=None
    )
    values = json.loads(sidecar.model_dump_json())
    values["accuracy"] = {**values["accuracy"], **changes}
    sidecar_path(folder / "model.tflite").write_text(json.dumps(values))
    return folder / "model.tflite"


def test_answers_come_back_as_they_were(tmp_path: Path) -> None:
    sidecar = read_sidecar(with_accuracy(tmp_path))
    assert sidecar is not None and sidecar.accuracy is not None and sidecar.accuracy.answers is not None
    assert sidecar.accuracy.answers.to_array(11).tolist() == RIGHT.tolist()
    assert len(sidecar.accuracy.answers.right) == 4  # two bytes in base64


def test_a_sidecar_of_an_older_version_has_no_answers(tmp_path: Path) -> None:
    model = with_accuracy(tmp_path)
    values = json.loads(sidecar_path(model).read_text())
    del values["accuracy"]["answers"]
    sidecar_path(model).write_text(json.dumps(values))
    sidecar = read_sidecar(model)
    assert sidecar is not None and sidecar.accuracy is not None and sidecar.accuracy.answers is None


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"top1": 0.5}, "top1 is 0.5, and 0.63.* of the images in `answers` are right"),
        ({"n": 10}, "not 10 images"),
        ({"n": 40}, "holds 16 bits, which is not 40 images"),
        ({"n": 0}, "greater than or equal to 1"),
        ({"answers": {"images": "a", "right": "?"}}, "accuracy: "),
    ],
)
def test_answers_that_do_not_give_the_accuracy_are_a_usage_error(tmp_path: Path, changes: dict, rule: str) -> None:
    with pytest.raises(UsageError, match=rule):
        read_sidecar(with_accuracy(tmp_path, **changes))
