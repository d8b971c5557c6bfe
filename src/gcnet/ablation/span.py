"""Lengths of time, for people."""

from __future__ import annotations


def span(seconds: float) -> str:
    """A length of time in two digits at most.

    Example:
        >>> span(50), span(400), span(9000), span(200000)
        ('50 s', '7 min', '2.5 h', '56 h')
    """
    if seconds < 99.5:
        return f"{seconds:.0f} s"
    if seconds < 99.5 * 60:
        return f"{seconds / 60:.0f} min"
    hours = seconds / 3600
    return f"{hours:.1f} h" if hours < 9.95 else f"{hours:.0f} h"
