"""What can go wrong in the pipeline.

    PipelineError                  everything below; never raised itself
    |-- ConfigError                the configuration, or something it names, cannot work     (exit 2)
    |   |-- DataError              a data set that is missing, empty or malformed
    |   `-- ModelError             a network that cannot be built, loaded, traced or pruned
    |-- StorageError               the run folder cannot be read or written                  (exit 2)
    |   `-- DamagedFileError       a file of the run is not what the run wrote
    |-- TrainingError              training diverged (NaN or infinite loss)                  (exit 1)
    |-- ExportError                a conversion failed, with the stage that it failed in     (exit 1)
    |-- SearchError                the search cannot go on (a replay that disagrees)         (exit 1)
    `-- RewardRejectedError        a search asked to learn from measurements it must not use (exit 4)
        `-- MeasurementRejectedError   a device that was disturbed all the while; later it may go well

Each message gives the value, the rule and the remedy; each class carries the exit code of the command line.
"""

from __future__ import annotations


class PipelineError(Exception):
    exit_code = 1


class ConfigError(PipelineError):
    exit_code = 2


class DataError(ConfigError):
    pass


class ModelError(ConfigError):
    pass


class StorageError(PipelineError):
    exit_code = 2


class DamagedFileError(StorageError):
    pass


class TrainingError(PipelineError):
    pass


class ExportError(PipelineError):
    pass


class SearchError(PipelineError):
    pass


class RewardRejectedError(PipelineError):
    exit_code = 4


class MeasurementRejectedError(RewardRejectedError):
    pass
