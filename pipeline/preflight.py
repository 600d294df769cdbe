"""What can be known to be wrong before any work: names that do not exist, devices that are not there."""

from __future__ import annotations

import device_bench
import models
from pipeline import data
from pipeline.config import Config
from pipeline.errors import ConfigError
from pipeline.search import agents


def check_names(config: Config) -> None:
    """Compare the configuration's names with the registries.

    Raises:
        ConfigError: a name that is neither known nor of the form `module:callable`; the text lists the known ones.
    """
    for key, name, known in (
        ("model.name", config.model.name, models.names()),
        ("data.name", config.data.name, data.names()),
        ("search.agent", config.search.agent, agents.names()),
    ):
        own = key != "search.agent" and ":" in name
        if name not in known and not own:
            form = "" if key == "search.agent" else ", or your own as module:callable or path/to/file.py:callable"
            raise ConfigError(f"{key}: unknown name {name!r}; known: {', '.join(known)}{form}")


def check_devices(config: Config) -> None:
    """Open every device once.

    Raises:
        DeviceBenchError: a device spec that cannot be read, or a device that is not there.
    """
    for spec in config.device_specs():
        with device_bench.open_device(spec):
            pass
