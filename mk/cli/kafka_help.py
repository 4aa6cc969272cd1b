"""`mk help kafka`: naming a Kafka cluster, and what is otherwise there than in a directory, from the table that the manual has too."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

DIFFERENCES = (
    (
        "mk produce --acks",
        "0 page cache, 1 disk (the default)",
        "0 sent, 1 leader, all in sync (the default), as Kafka's acks",
    ),
    (
        "mk produce -v --acks 0",
        "a line for each append",
        "a note: brokers that are asked for no answer do not tell where records land",
    ),
    (
        "mk produce --producer-id",
        "the same input again is stored once",
        "refused; within one run, each record is stored once",
    ),
    ("mk consume -g with -p", "a member chooses partitions", "refused; the coordinator shares all partitions"),
    (
        "-c partitioner",
        "crc32 or murmur2, kept by the topic",
        "each producer's: crc32, or -X partitioner=murmur2_random",
    ),
    ("-c min.free, retention.groups", "settings of a topic", "refused; all that Kafka has beside them is passed on"),
    ("max.message.bytes", "16 MiB unless set", "1 MiB unless set"),
    ("--replication-factor", "refused", "how many brokers have a topic that is made"),
    (
        "--lock-wait, --allow-network-fs",
        "what a lock or file system is waited for or let be",
        "nothing to wait for: without effect",
    ),
    ("size, segments, bytes a second", "shown", "not told by brokers: - and null"),
    ("last write", "when a segment was written to", "the latest time of a record"),
    ("members of a group", "processes: host, pid, command", "host and client id; no time of the last commit"),
    ("mk topics", "all topics", "not those that begin with __, which Kafka keeps for itself; they are read by name"),
    ("mk topics get", "looks from the end, by an index", "reads back from the end until the key is found"),
    ("topics rename, seal, clone, rehash", "there", "refused: Kafka has none of them"),
    ("topics clean, compact", "done when asked", "refused: brokers do it by themselves"),
    ("topics snapshot, dump, verify, repair", "there", "refused: work on files"),
    ("groups kick, undo", "there", "refused; mk groups export before a change is the way back"),
    ("groups delete TOPIC by TOPIC", "there", "refused; mk groups delete deletes all"),
    ("mk check, mk serve", "there", "refused; brokers have their own"),
    ("replicate promote, salvage, status", "there", "refused: the controller chooses leaders"),
)
"""What, in a directory, in a Kafka cluster. The README and mk-kafka(7) have the same."""


def kafka_help(table: "Callable[[Sequence[tuple[str, str]]], str]") -> str:
    """Return what `mk help kafka` prints. table: makes lines of two columns."""
    rows = [(name, kafka) for name, _, kafka in DIFFERENCES]
    return f"""\
Kafka: the same commands on an Apache Kafka cluster. They need one package more:

  pip install 'mk-log[kafka]'

A cluster is kafka:// and one broker or more, where a directory may stand; the port is 9092 unless said.

  export MK_DIR=kafka://h1:9092,h2:9092
  seq 3 | mk produce numbers
  mk consume numbers -g sums
  mk topics describe numbers

Properties are those of librdkafka: -X NAME=VALUE (repeatable) counts most, then the address
(kafka://h1?security.protocol=ssl&client.id=app), then a profile: -X profile=FILE, or ?profile=FILE. That is
a file of NAME=VALUE lines, as kcat's and Kafka's own tools have; # begins a remark, ~ is your home, and
bootstrap.servers in it is who kafka:// alone means. A login with TLS, in a file that only you can read:

  bootstrap.servers=h1:9093,h2:9093
  security.protocol=sasl_ssl
  sasl.mechanism=SCRAM-SHA-512
  sasl.username=ann
  sasl.password=...
  ssl.ca.location=/etc/ssl/kafka-ca.pem

A secret on a command line is refused, since every user of the host can see it in ps; no error shows one.

A request may take mk.timeout.ms=10000, or as long as --timeout where a command has it and that is shorter.
Then it is 69: nobody answers, 77: the login, the certificate or an ACL refuses (at once), 75: a leader is
lost or too few replicas are in sync. The line `why` says which broker, and what is the matter.

What is otherwise than in a directory, there:

{table(rows)}
mk-kafka(7) has more: security, timeouts, replication between a directory and a cluster.
"""
