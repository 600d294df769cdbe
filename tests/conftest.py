"""What all tests share. Set before torch and TensorFlow are loaded, which read it once."""

import os

# The test processes share the cores; more threads than cores make each of them slower, not faster.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
