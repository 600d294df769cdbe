"""Numbers as people read them. A null is a dash, never a zero; a value too small to show keeps its digits."""

from __future__ import annotations

import math

DASH = "\u2014"
MINUS = "\u2212"
RANGE = "\u2013"


def number(value: float | None, digits: int = 3) -> str:
    """A value with `digits` significant digits and no exponent where people would write none."""
    if value is None or not math.isfinite(value):
        return DASH
    if value == 0:
        return "0"
    magnitude = math.floor(math.log10(abs(value)))
    if magnitude >= 9 or magnitude < -5:
        text = f"{value:.{digits - 1}e}"
    else:
        text = f"{value:,.{min(max(digits - 1 - magnitude, 0), 12)}f}"
    return text.replace("-", MINUS)


def interval(bounds: tuple[float, float] | None, digits: int = 3) -> str:
    if bounds is None:
        return DASH
    low, high = (number(bound, digits) for bound in bounds)
    separator = " to " if MINUS in low + high else RANGE
    return f"{low}{separator}{high}"


def percent(share: float | None) -> str:
    """A share of 1 in percent, one decimal, without the sign of percent."""
    if share is None or not math.isfinite(share):
        return DASH
    return points(share)


def fine_percent(share: float | None) -> str:
    """In percent, two significant digits: what is told here is small."""
    return number(None if share is None else 100 * share, 2)


def percent_interval(bounds: tuple[float, float] | None) -> str:
    return DASH if bounds is None else f"{percent(bounds[0])}{RANGE}{percent(bounds[1])}"


def points(difference: float) -> str:
    """A difference of two shares in percentage points."""
    return f"{round(100 * difference, 1) + 0.0:.1f}".replace("-", MINUS)


def times(ratio: float | None) -> str:
    """A factor, such as a speed-up."""
    return DASH if ratio is None or not math.isfinite(ratio) else f"{number(ratio)}\u00d7"


def duration(seconds: float | None) -> str:
    if seconds is None or not math.isfinite(seconds):
        return DASH
    if seconds < 60:
        return f"{number(seconds)} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60} h {minutes % 60:02d} min" if minutes >= 60 else f"{minutes} min {rest:02d} s"


def one_line(text: str, limit: int = 200) -> str:
    """Text of a file on one line, cut at `limit` characters."""
    flat = " ".join(text.split())
    return flat if len(flat) <= limit else flat[: limit - 1] + "\u2026"
