"""Time: that of records, as epoch milliseconds, and that which passes whatever the clock is set to."""

import time


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def uptime_ms() -> int:
    """Return the milliseconds since the system was started, those asleep included."""
    # macOS has no CLOCK_BOOTTIME; there the monotonic clock goes on in sleep.
    return time.clock_gettime_ns(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)) // 1_000_000
