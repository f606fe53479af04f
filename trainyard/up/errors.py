from trainyard.errors import ClientError


class UpError(ClientError):
    """The service could not be started; the message says what to do."""


class Stopped(Exception):
    """A signal asked for the end while something was waited for."""
