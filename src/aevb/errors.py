"""Errors that a user can mend; the message says how, and the command line prints it alone."""


class ConfigurationError(ValueError):
    """A setting or a run's name is not valid; the message says which and what is expected."""


class DamagedFileError(Exception):
    """A file that cannot be read. The message names it and says what to do."""
