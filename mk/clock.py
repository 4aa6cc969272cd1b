"""The time of records: epoch milliseconds, as an integer."""

import time


def now_ms() -> int:
    return time.time_ns() // 1_000_000
