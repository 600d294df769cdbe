"""The stages of the main flow, one file each.

Each has `inputs(config)`, the part of the configuration that its result depends on, and `run(config, folder, work,
progress)`, which reads finished stages through `folder` and writes into `work`, where it may find what an interrupted
attempt left.
"""
