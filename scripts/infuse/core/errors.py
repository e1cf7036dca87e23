"""The one exception that is meant for the user's eyes, and other errors told in one line."""


class UserError(Exception):
    """A mistake in the config or the data, told in one line: where, what, what was expected.

    Scripts and the Snakefile print it without a traceback and exit with a code other than 0.
    """


def first_line(error: Exception) -> str:
    """What an error of a library says first, or its type where it says nothing."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]
