"""The errors that the command line reports, with their exit statuses."""

from collections.abc import Iterable


class LabError(Exception):
    """The lab itself failed; the message names the log to read."""

    exit_code = 4


class UserError(LabError):
    """Bad usage or a bad file; the message is one clear line that says what to do."""

    exit_code = 2


def did_you_mean(word: str, choices: Iterable[str]) -> str:
    """Return "; did you mean 'x'?" with the choice nearest to `word`; "" if none is near."""
    # A local import, because only a message about a mistake needs it.
    import difflib

    nearest = difflib.get_close_matches(word[:100], list(choices), n=1, cutoff=0.6)
    return f"; did you mean '{nearest[0]}'?" if nearest else ""
