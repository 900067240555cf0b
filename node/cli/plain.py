"""Errors of the world around the node, each in one line that an operator understands."""

from sqlalchemy.exc import DBAPIError


def reason(error: Exception) -> str:
    """Say what went wrong without a traceback and without the statement that met it."""
    if isinstance(error, DBAPIError):
        return str(error.orig).splitlines()[0]
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return str(error).splitlines()[0]
