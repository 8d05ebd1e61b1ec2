"""The exception whose message is written for the user."""


class UserError(Exception):
    """An error that the user can fix. Its message is one line: where it happened, what is wrong, and what to do.

    Console scripts print the message without a traceback and exit with code 2.
    """
