"""What can be known to be wrong before any work: names and options that do not exist, devices that cannot serve."""

from __future__ import annotations

import device_bench
import models
from device_bench.errors import UsageError
from pipeline import data
from pipeline.config import Config
from pipeline.errors import ConfigError, RewardRejectedError
from pipeline.search import agents


def check_names(config: Config) -> None:
    """Compare the configuration's names with the registries, and the agent's options with those that it has.

    Raises:
        ConfigError: a name that is neither known nor of the form `module:callable`, or what the agent cannot do.
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
    agents.check_options(config.search)
    agents.actions_of(config.search, config.pruning.kind)
    agents.check_episodes(config.search, config.pruning.kind)


def check_devices(config: Config) -> None:
    """Open every device once, and ask whether it may pay rewards and has what the measurements want.

    Raises:
        DeviceBenchError: a device spec that cannot be read, or a device that is not there.
        ConfigError: a device runs no TFLite files, or lacks the accelerator or delegate that it shall be measured with.
        RewardRejectedError: a device is of a kind that must not pay rewards, or has no energy to pay for.
    """
    wanted = {"search.bench": config.search.bench.spec(), "bench": config.bench.spec()}
    for spec in config.device_specs():
        with device_bench.open_device(spec) as device:
            kind = device.info().kind
            no_power = device.power_unavailable() if config.search.reward.energy else None
            if "tflite" not in device.formats:
                raise ConfigError(
                    f"device: {spec} runs {', '.join(device.formats)} files, and a search times TFLite files; search "
                    "on another device, and give this one the exported files: `pocketprune bench FILE --device SPEC`"
                )
            for key, bench in wanted.items():
                try:
                    device.check_accelerator(bench)
                except UsageError as error:
                    raise ConfigError(f"{key}.{error}") from error
        if kind not in config.search.trusted_kinds:
            raise RewardRejectedError(
                f"{spec} is of kind {kind!r}, and search.reward_from allows {', '.join(config.search.reward_from)}: "
                f"latency there is not a phone's; add {kind!r} to learn from it"
            )
        if no_power is not None:
            raise RewardRejectedError(
                f"search.reward.energy {config.search.reward.energy:g}: {spec} gives no energy ({no_power}); mend "
                "that, search on another device, or set search.reward.energy to 0"
            )
