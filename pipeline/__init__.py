"""Searches how much of each layer to prune, and proves on the device what that gained."""

import os

# Torch's OpenMP threads spin while they wait; beside one busy neighbour on two cores that made a batch 20 times
# slower. Read when torch is loaded, so it must be set before.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("GOMP_SPINCOUNT", "0")
