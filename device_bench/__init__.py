"""Measures a model file on a device. Knows nothing of torch or of pruning."""
