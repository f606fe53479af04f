"""What can go wrong while ``trainyard up`` starts."""

from trainyard.errors import ClientError


class UpError(ClientError):
    """The service could not be started; the message says what to do."""


class ToolFailed(UpError):
    """A short command of ours ended badly; the message has the end of its log."""


class Stopped(Exception):
    """A signal asked for the end while something was waited for."""
