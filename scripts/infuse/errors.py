"""The one exception that is meant for the user's eyes."""


class UserError(Exception):
    """A mistake in the config or the data, told in one line: where, what, what was expected.

    Scripts and the Snakefile print it without a traceback and exit with a code other than 0.
    """
