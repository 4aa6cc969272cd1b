"""Loading confluent_kafka for one command: without its classes for schemas, whose asyncio takes half of the time to load.

For processes that mk has to itself. A program that uses mk may want those classes.
"""

from __future__ import annotations

import sys
from types import ModuleType

_LEFT_OUT = ("deserializing_consumer", "deserializing_share_consumer", "serializing_producer")


class _StandIn(ModuleType):
    """Has whatever is asked of it, and all of it is None."""

    def __getattr__(self, name: str) -> None:
        if name.startswith("__"):
            raise AttributeError(name)


def import_lean() -> None:
    """Load the package if it is there; whoever needs it says so if it is not."""
    if "confluent_kafka" in sys.modules:
        return
    names = [f"confluent_kafka.{name}" for name in _LEFT_OUT]
    sys.modules.update({name: _StandIn(name) for name in names})
    try:
        import confluent_kafka  # noqa: F401  it is the loading that counts
    except ImportError:
        pass
    finally:
        for name in names:
            sys.modules.pop(name, None)
