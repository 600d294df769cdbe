"""What all tests share. Set before torch and TensorFlow are loaded, which read it once."""

import os
from collections.abc import Iterator

import pytest
from hypothesis import settings

from tests.rig.fixtures import rig, rig_device, rig_devices, rig_emulator, rig_pair

__all__ = ["rig", "rig_device", "rig_devices", "rig_emulator", "rig_pair"]  # fixtures for every test

# The test processes share the cores; more threads than cores make each of them slower, not faster.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

# The same examples every time, and no time limit on any of them: a busy machine is no fault of the code.
settings.register_profile("pocketprune", derandomize=True, deadline=None)
settings.load_profile("pocketprune")


@pytest.fixture(scope="session", autouse=True)
def _state_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What is remembered of devices stays out of the user's own folders."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        yield
