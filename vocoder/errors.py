"""The one exception a user is meant to read."""


class UserError(Exception):
    """Something the user can mend: the message says what, where, and what to do, in one line.

    Console scripts print it without a traceback and exit with code 2.
    """
