"""The one exception a user may see: a single clear line, which `cli` prints before it exits."""


class NcagenError(Exception):
    """What is wrong, what is allowed, what to type instead. `status` is the command's exit status."""

    status = 2
