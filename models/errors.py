"""What can go wrong while a network is found, built or loaded.

ModelsError                everything below; never raised itself   (exit 2)
|-- UnknownNameError       not in the registry; the text lists what is
|-- OptionError            an option, number of classes or image size that the network cannot take
|-- CallableError          `module:callable` or `file.py:callable` that cannot be resolved
`-- WeightsError           weights that cannot be read or do not fit the network
"""

from __future__ import annotations


class ModelsError(Exception):
    exit_code = 2


class UnknownNameError(ModelsError):
    pass


class OptionError(ModelsError):
    pass


class CallableError(ModelsError):
    pass


class WeightsError(ModelsError):
    pass
