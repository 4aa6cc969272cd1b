"""What Kafka and librdkafka refuse, as errors of mk: one place says which exit status each of their codes is.

No text of theirs that could hold a property's value is quoted; what they say of connections names hosts and reasons.
"""

from __future__ import annotations

from mk.errors import (
    CannotCreateError,
    ConfigurationError,
    DataError,
    MkError,
    NotFoundError,
    PeerUnreachableError,
    PermissionDeniedError,
    StorageError,
    TopicExistsError,
    TryAgainError,
    UsageError,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from confluent_kafka import KafkaError

_UNREACHABLE = (
    "_ALL_BROKERS_DOWN _TRANSPORT _RESOLVE _TIMED_OUT _TIMED_OUT_QUEUE _MSG_TIMED_OUT _UNKNOWN_BROKER _WAIT_COORD"
    " BROKER_NOT_AVAILABLE NETWORK_EXCEPTION REQUEST_TIMED_OUT"
)
_DENIED = (
    "_AUTHENTICATION _SSL SASL_AUTHENTICATION_FAILED ILLEGAL_SASL_STATE UNSUPPORTED_SASL_MECHANISM"
    " TOPIC_AUTHORIZATION_FAILED GROUP_AUTHORIZATION_FAILED CLUSTER_AUTHORIZATION_FAILED"
    " TRANSACTIONAL_ID_AUTHORIZATION_FAILED TOPIC_DELETION_DISABLED SECURITY_DISABLED"
)
_NOT_NOW = (
    "LEADER_NOT_AVAILABLE NOT_LEADER_FOR_PARTITION NOT_CONTROLLER NOT_COORDINATOR COORDINATOR_NOT_AVAILABLE"
    " COORDINATOR_LOAD_IN_PROGRESS NOT_ENOUGH_REPLICAS NOT_ENOUGH_REPLICAS_AFTER_APPEND _ISR_INSUFF"
    " REPLICA_NOT_AVAILABLE FENCED_LEADER_EPOCH UNKNOWN_LEADER_EPOCH OFFSET_NOT_AVAILABLE REBALANCE_IN_PROGRESS"
    " ILLEGAL_GENERATION UNKNOWN_MEMBER_ID NON_EMPTY_GROUP GROUP_SUBSCRIBED_TO_TOPIC CONCURRENT_TRANSACTIONS"
    " UNSTABLE_OFFSET_COMMIT THROTTLING_QUOTA_EXCEEDED PRODUCER_FENCED INVALID_PRODUCER_EPOCH _FENCED"
    " FENCED_INSTANCE_ID _ASSIGNMENT_LOST _MAX_POLL_EXCEEDED GROUP_MAX_SIZE_REACHED REASSIGNMENT_IN_PROGRESS"
)
_ABSENT = (
    "UNKNOWN_TOPIC_OR_PART _UNKNOWN_TOPIC _UNKNOWN_PARTITION _UNKNOWN_GROUP GROUP_ID_NOT_FOUND UNKNOWN_TOPIC_ID"
    " OFFSET_OUT_OF_RANGE RESOURCE_NOT_FOUND _NOENT"
)
_MISCONFIGURED = (
    "INVALID_CONFIG POLICY_VIOLATION UNSUPPORTED_VERSION _UNSUPPORTED_FEATURE UNSUPPORTED_COMPRESSION_TYPE"
    " INCONSISTENT_GROUP_PROTOCOL INVALID_SESSION_TIMEOUT INVALID_TRANSACTION_TIMEOUT UNSUPPORTED_ASSIGNOR"
    " UNSUPPORTED_FOR_MESSAGE_FORMAT"
)
_IMPOSSIBLE = (
    "TOPIC_EXCEPTION INVALID_PARTITIONS INVALID_REPLICATION_FACTOR INVALID_REPLICA_ASSIGNMENT INVALID_GROUP_ID"
    " INVALID_REQUEST"
)
_UNPARSABLE = (
    "MSG_SIZE_TOO_LARGE RECORD_LIST_TOO_LARGE INVALID_MSG INVALID_MSG_SIZE INVALID_RECORD INVALID_TIMESTAMP _BAD_MSG"
    " _BAD_COMPRESSION _LOG_TRUNCATION"
)
_KINDS: tuple[tuple[str, type[MkError], str], ...] = (
    (_UNREACHABLE, PeerUnreachableError, "look whether the brokers run and can be reached from here, and run it again"),
    (_DENIED, PermissionDeniedError, "look at the login in the profile or the URL, and at what the cluster allows it"),
    (_NOT_NOW, TryAgainError, "run it again in a moment"),
    (_ABSENT, NotFoundError, "`mk topics` and `mk groups` show what there is"),
    (_MISCONFIGURED, ConfigurationError, "look at the settings; the cluster does not take them"),
    (_IMPOSSIBLE, UsageError, "nothing was done"),
    (_UNPARSABLE, DataError, "nothing of that record is stored"),
    ("TOPIC_ALREADY_EXISTS DUPLICATE_RESOURCE", CannotCreateError, "nothing was done"),
    ("KAFKA_STORAGE_ERROR LOG_DIR_NOT_FOUND", StorageError, "look at the disks of the brokers"),
)
_BY_NAME = {name: (kind, fix) for names, kind, fix in _KINDS for name in names.split()}


def error_of(error: KafkaError, what: str, *, fix: str = "", why: str = "", **facts: object) -> MkError:
    """Return the error that says `what` failed, of the class that the code of Kafka's error belongs to.

    fix: the next command to type, and what is stored, instead of what is generally right for that class. why: what is known
    better than what the code says. `code` among the facts is Kafka's name of it.
    """
    kind, usual_fix = _BY_NAME.get(error.name(), (TryAgainError if error.retriable() else StorageError, ""))
    if kind is CannotCreateError and facts.keys() == {"topic"}:
        return TopicExistsError(topic=str(facts["topic"]), existing=str(facts["topic"]))
    return kind(what, why=why or reason_of(error), fix=fix or usual_fix, code=error.name(), **facts)


def reason_of(error: KafkaError) -> str:
    """Return why, as one short line, without what only who works on librdkafka can use."""
    import re

    text = " ".join(error.str().split())
    text = re.sub(r" \(after \d+ms in state .*\)$", "", text)
    text = re.sub(r"^(?:\w+://)?([^/ ]+)/(?:bootstrap|\d+): ", r"\1: ", text)
    text = re.sub(r"Connect to ipv[46]#\S+ failed: ", "", text)
    text = re.sub(r"error:[0-9A-F]{8}:SSL routines:[^:]*:", "", text)
    if error.name() == "_BAD_MSG" and "Invalid response size" in text:
        return f"{text.partition(': ')[0]}: what answers there is no Kafka broker, or speaks TLS"
    return text if len(text) <= 300 else text[:297] + "..."


def tells_nothing(error: KafkaError) -> bool:
    """Tell whether an error says that no broker can be reached, and not why."""
    return error.name() in ("_ALL_BROKERS_DOWN", "_TIMED_OUT") or (
        error.name() == "_TRANSPORT" and "Disconnected" in error.str() and "SSL" not in error.str()
    )


def fix_of_login(error: KafkaError) -> str:
    """Return what to look at where a broker and we do not come to terms before anything is asked, "" for anything else."""
    if error.name() == "_SSL":
        return (
            "name the certificate of its authority with ssl.ca.location; look at the host's name too; nothing was done"
        )
    if error.name() == "_AUTHENTICATION":
        return "look at sasl.mechanism, sasl.username and sasl.password in the profile; nothing was done"
    return ""


def is_unreachable(error: KafkaError) -> bool:
    return _BY_NAME.get(error.name(), (None,))[0] is PeerUnreachableError


def is_denied(error: KafkaError) -> bool:
    return _BY_NAME.get(error.name(), (None,))[0] is PermissionDeniedError
