"""What all tests share. Set before torch and TensorFlow are loaded, which read it once."""

import os

from hypothesis import settings

from tests.rig.fixtures import rig, rig_device, rig_devices, rig_emulator, rig_pair

__all__ = ["rig", "rig_device", "rig_devices", "rig_emulator", "rig_pair"]  # fixtures for every test

# The test processes share the cores; more threads than cores make each of them slower, not faster.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

# The same examples every time, and no time limit on any of them: a busy machine is no fault of the code.
settings.register_profile("pocketprune", derandomize=True, deadline=None)
settings.load_profile("pocketprune")
