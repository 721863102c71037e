"""The one exception a user may see: a single clear line, which `cli` prints before it exits with status 2."""


class NcagenError(Exception):
    """What is wrong, what is allowed, what to type instead."""
