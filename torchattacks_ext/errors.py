"""What can go wrong, and whose move is it? One exception tree for the whole package.

Every message names the value, its domain and the remedy. All classes inherit from
:class:`TorchattacksExtError` and from the built-in exception that fits, so that ``except
ValueError`` keeps working. Doubt about a measurement is not an exception but a flag in the
result, with one :class:`ReliabilityWarning` a code.
"""


class TorchattacksExtError(Exception):
    """Base of every exception that this package raises on purpose."""


class InputError(TorchattacksExtError, ValueError):
    """Images, labels, ids or files are not what the method needs."""


class ConfigError(TorchattacksExtError, ValueError):
    """A setting is outside its domain, or two settings contradict each other."""


class StatusError(TorchattacksExtError, TypeError):
    """An object is used in a way that its kind does not allow (say, a result of another class)."""


class ModelContractError(TorchattacksExtError, RuntimeError):
    """The model does not map a batch to one row of finite scores an image."""


class BackendError(TorchattacksExtError, RuntimeError):
    """A wrapped library failed or answered something that it never should."""


class StateError(TorchattacksExtError, RuntimeError):
    """The order of calls is wrong: wrong thread, repeated ids, another run's state."""


class MissingExtra(TorchattacksExtError, ImportError):
    """An optional dependency is not installed; the message names the extra that brings it."""


class ReliabilityWarning(UserWarning):
    """A measurement was made, but something about the model or the data makes it doubtful."""
