"""Writes durations and sizes for people."""


def duration(seconds: float) -> str:
    """Seconds, minutes, hours or days."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    if seconds < 48 * 3600:
        return f"{seconds / 3600:.1f} h"
    return f"{seconds / 86400:.1f} days"


def size(count: int) -> str:
    """Decimal megabytes, gigabytes from ten thousand of those on, terabytes likewise."""
    for unit, size in (("MB", 1e6), ("GB", 1e9)):
        if count < 1e4 * size:
            return f"{count / size:,.0f} {unit}"
    return f"{count / 1e12:,.1f} TB"
