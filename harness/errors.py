"""What can go wrong, as the command line tells it apart."""


class LabError(Exception):
    """The lab itself failed; the message names the log to read."""

    exit_code = 4


class UserError(LabError):
    """Bad usage or a bad file; the message is one clear line that says what to do."""

    exit_code = 2
