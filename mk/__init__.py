"""Kafka's log for the shell, over one plain directory.

    import mk

    with mk.connect("/srv/mk", create=True) as cluster:
        cluster.create_topic("orders", partitions=8)
        with cluster.producer("orders") as producer:
            producer.send(b"a value", key=b"u1")
        for record in cluster.consumer("orders", offset="start"):
            print(record.offset, record.key, record.value)
        with cluster.group_consumer("billing", "orders", follow=True) as consumer:
            for record in consumer:  # It is done, and may be committed, when the next one is asked for.
                print(record.value)

Everything begins with a Cluster: `help(mk.Cluster)` tells what can be done to topics and groups, `help(mk.Producer)`,
`help(mk.Consumer)` and `help(mk.GroupConsumer)` what the objects that it makes can do, `help(mk.errors)` what can go wrong.
`man mk-python` has all of it on one page, with examples.

Keys and values are bytes, times are milliseconds since 1970 (`_ms`), what is described is dicts that are ready for JSON.

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
    "__version__",
    "connect",
    "errors",
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
    "connect": "mk.cluster",
    "errors": "mk.errors",
    "parse_offset_spec": "mk.consumer.offset_spec",
}

TYPE_CHECKING = False
if TYPE_CHECKING:
    from mk import errors
    from mk.cluster import Cluster, connect
    from mk.consumer.consumer import Consumer
    from mk.consumer.group_consumer import GroupConsumer
    from mk.consumer.offset_spec import OffsetSpec, parse_offset_spec
    from mk.errors import MkError
    from mk.producer.producer import Producer
    from mk.records.record import ConsumerRecord
    from mk.storage.partition_log import AppendResult

if not TYPE_CHECKING:  # Or a checker would take every misspelled name for one of these.

    def __getattr__(name: str) -> object:
        home = _HOMES.get(name)
        if home is None:
            raise AttributeError(f"module 'mk' has no attribute {name!r}")
        import importlib

        module = importlib.import_module(home)
        return module if home == f"mk.{name}" else getattr(module, name)


def __dir__() -> list[str]:
    """Return the names for who completes them, though they are not loaded yet."""
    return __all__
