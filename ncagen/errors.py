"""The exceptions that a user may see: one clear line each, which `cli` prints before it exits."""


class NcagenError(Exception):
    """What is wrong, what is allowed, what to type instead. `status` is the command's exit status."""

    status = 2


class SpecError(NcagenError):
    """A setting that no dataset can have."""


class SelfCheckFailed(NcagenError):
    """This machine or its device does not compute what ncagen defines."""
