"""Kafka's log for the shell, over one plain directory.

    import mk

    with mk.connect("/srv/mk", create=True) as cluster:
        cluster.create_topic("orders", partitions=8)
        with cluster.producer("orders") as producer:
            producer.send(b"a value", key=b"u1")
        for record in cluster.consumer(["orders"]):
            print(record.offset, record.key, record.value)

`help(mk.Cluster)` tells all that can be done to topics, `help(mk.Producer)`, `help(mk.Consumer)` and `help(mk.GroupConsumer)`
the rest.

Names are loaded when they are first used: every `mk` command imports this module, few need all of it.
"""

__version__ = "0.1.0"

__all__ = [
    "AppendResult",
    "Cluster",
    "Consumer",
    "ConsumerRecord",
    "GroupConsumer",
    "MkError",
    "OffsetSpec",
    "Producer",
    "Record",
    "__version__",
    "connect",
    "parse_offset_spec",
]

_HOMES = {
    "AppendResult": "mk.storage.partition_log",
    "Cluster": "mk.cluster",
    "Consumer": "mk.consumer.consumer",
    "ConsumerRecord": "mk.records.record",
    "GroupConsumer": "mk.consumer.group_consumer",
    "MkError": "mk.errors",
    "OffsetSpec": "mk.consumer.offset_spec",
    "Producer": "mk.producer.producer",
    "Record": "mk.records.record",
    "connect": "mk.cluster",
    "parse_offset_spec": "mk.consumer.offset_spec",
}

TYPE_CHECKING = False
if TYPE_CHECKING:
    from mk.cluster import Cluster, connect
    from mk.consumer.consumer import Consumer
    from mk.consumer.group_consumer import GroupConsumer
    from mk.consumer.offset_spec import OffsetSpec, parse_offset_spec
    from mk.errors import MkError
    from mk.producer.producer import Producer
    from mk.records.record import ConsumerRecord, Record
    from mk.storage.partition_log import AppendResult


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'mk' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(home), name)


def __dir__() -> list[str]:
    """Return the names for who completes them, though they are not loaded yet."""
    return __all__
