"""Errors that a user can mend; the command line prints their message alone."""


class ConfigurationError(ValueError):
    """A setting or a run's name is not valid. The message says what is expected."""


class DamagedFileError(Exception):
    """A file that cannot be read. The message names it and says what to do."""
