"""The one door to librdkafka: its clients, made from one address, and waiting for what they are asked.

librdkafka tells of broken connections beside the requests that suffer from them. So what it told last is remembered, and is
the reason in the error of a request that gets no answer; a login that was refused ends the wait at once.
"""

from __future__ import annotations

from contextlib import suppress
from os import getpid
from time import monotonic, sleep

from mk.errors import ConfigurationError, MkError, PeerUnreachableError, PermissionDeniedError, TryAgainError
from mk.kafka_cluster.kafka_errors import error_of, fix_of_login, is_denied, is_unreachable, reason_of, tells_nothing
from mk.kafka_cluster.signal_shelter import sheltered
from mk.transport.kafka_address import is_secret

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from concurrent.futures import Future
    from typing import Any, TypeVar

    from confluent_kafka import KafkaError

    from mk.transport.kafka_address import KafkaAddress

    K = TypeVar("K")
    T = TypeVar("T")

SLICE_SECONDS = 0.1
"""No call of the library is left alone for longer: it does not hear ^C."""

BROKER_IS_AWAY = "BROKER_NOT_AVAILABLE"
"""The code of an error for what one broker does not answer, while others do."""

_LOOK_SECONDS, _LOOK_PATIENCE_SECONDS = 1.0, 0.5
"""How often who is not answered looks who is who now, and how long that look may take."""

_PAUSE_SECONDS = 0.05
"""Between two questions about what is not to be had now, as partitions have no leader just after they were made."""

_DELIVERY_SECONDS = 60.0
"""How long a record may take where nobody says: a broker that is started again takes its time, and then all goes on."""

_LONGEST_LOOK_SECONDS = 1.0
"""What is kept of the time for finding out why there is no answer."""

_JAVA = {
    "sasl.jaas.config": "that is Java's; here it is sasl.username and sasl.password",
    "ssl.truststore.location": "that is Java's; here it is ssl.ca.location, a PEM file",
    "ssl.truststore.password": "that is Java's; here it is ssl.ca.location, a PEM file, without a password",
}
"""Properties of Java's clients that librdkafka has otherwise."""

_ONLY_PRODUCERS = (
    "acks",
    "batch.",
    "compression.",
    "delivery.report",
    "dr_",
    "enable.gapless",
    "enable.idempotence",
    "linger",
    "message.timeout",
    "message.send.max",
    "msg_order",
    "partitioner",
    "queue.buffering",
    "queuing.strategy",
    "request.required.acks",
    "request.timeout",
    "retries",
    "retry.backoff",
    "sticky.",
    "transaction",
)
_ONLY_CONSUMERS = (
    "auto.commit",
    "auto.offset",
    "check.crcs",
    "consume.",
    "enable.auto",
    "enable.partition.eof",
    "fetch.",
    "group.",
    "heartbeat",
    "isolation",
    "max.partition.fetch",
    "max.poll",
    "offset.",
    "partition.assignment",
    "queued.",
    "session.timeout",
)
"""Fronts of names of properties that the other kinds of client would warn of."""


def library() -> Any:
    """Return the package confluent_kafka. Raises ConfigurationError where it is not installed."""
    try:
        import confluent_kafka
    except ImportError as error:
        raise ConfigurationError(
            "mk cannot speak with a Kafka cluster here",
            why=str(error) if error.name not in ("confluent_kafka", None) else "confluent-kafka is not installed",
            fix="pip install 'mk-log[kafka]', or pipx inject mk-log confluent-kafka; nothing was done",
        ) from None
    return confluent_kafka


def leave_to_parent(thing: Any) -> None:
    """Never tidy up what a parent process has of the library: its threads are not in a fork, and would be waited for for ever."""
    import ctypes

    ctypes.pythonapi.Py_IncRef(ctypes.py_object(thing))


class Client:
    """What all that speaks with one cluster shares. location: where that is, for people, without properties.

    timeout_seconds: how long a request may take, with finding out why it was not answered; patience: without.
    delivery_seconds: how long a record on its way in may take. Not for two threads.
    """

    def __init__(self, address: KafkaAddress) -> None:
        """Connect to nothing as yet. Raises ConfigurationError where the package is missing."""
        self.kafka = library()
        self.location = str(address)
        self.timeout_seconds = address.timeout_ms / 1000
        self.delivery_seconds = self.timeout_seconds if address.has_timeout else _DELIVERY_SECONDS
        self._look_seconds = min(_LONGEST_LOOK_SECONDS, self.timeout_seconds / 5)
        self.patience = self.timeout_seconds - 1.5 * self._look_seconds
        self._address = address
        self._admin: Any = None
        self._pid = getpid()
        self._told: KafkaError | None = None

    def close(self) -> None:
        """Let go of the connection for requests. Consumers and producers are closed by who made them."""
        admins, self._admin = [self._admin], None
        if admins[0] is not None and self._pid != getpid():
            leave_to_parent(admins[0])
        sheltered(admins.clear)

    @property
    def admin(self) -> Any:
        """The library's client for requests. Its calls give futures, for `ask` and `change`."""
        if self._pid != getpid():
            self.close()
            self._pid = getpid()
        if self._admin is None:
            from confluent_kafka.admin import AdminClient

            self._admin = self._made(AdminClient, self._properties(_ONLY_PRODUCERS + _ONLY_CONSUMERS))
        return self._admin

    @property
    def admin_module(self) -> Any:
        """The module with the words that requests are made of, such as NewTopic."""
        import confluent_kafka.admin

        return confluent_kafka.admin

    def property(self, name: str, default: str = "") -> str:
        """Return what the user says of a property."""
        return self._address.properties.get(name, default)

    def new_consumer(self, **properties: object) -> Any:
        """Return a consumer, with what the user says of consumers. `properties` have _ for each dot, and count more."""
        return self._made(self.kafka.Consumer, {**self._properties(_ONLY_PRODUCERS), **_dotted(properties)})

    def new_producer(self, **properties: object) -> Any:
        """Return a producer, in the same way."""
        return self._made(self.kafka.Producer, {**self._properties(_ONLY_CONSUMERS), **_dotted(properties)})

    def hurry(self, producer: Any, topic: str) -> None:
        """Have a producer get its id as soon as it can.

        It asks for one when it has heard of brokers; with none connected then, as where the one that told of them is let go,
        half a second later. The first answer may come of that one, the second one comes of another.
        """
        with suppress(self.kafka.KafkaException):
            for _ in range(2):
                producer.list_topics(topic, timeout=SLICE_SECONDS)

    def ask(
        self,
        request: Callable[[list[K]], Mapping[K, Future[T]]],
        keys: Iterable[K],
        about: Callable[[K], dict[str, Any]],
        *,
        again_seconds: float | None = None,
        passes: Callable[[MkError], bool] = lambda error: isinstance(error, TryAgainError),
    ) -> dict[K, T | MkError]:
        """Ask about several things at once; return what is told of each, or the error that stands between us and that one.

        A request that librdkafka has for a broker waits for that one, though it died and another took its place. So what is
        not answered is asked again, after a look at who is who now. For what changes something there is `change`.

        Args:
            request: sends a request about some of the keys.
            about: of a key what cannot be done, as `what`, and the facts of an error.
            again_seconds: how long one is asked about again whose error `passes`, and one that its broker says nothing of
                while others answer; None: as long as a request may take.

        Raises PeerUnreachableError if nobody answers, PermissionDeniedError if the login is refused.
        """
        end = again_until = monotonic() + self.patience
        if again_seconds is not None:
            again_until = min(end, monotonic() + again_seconds)
        found: dict[K, T | MkError] = {}
        asked: dict[K, list[Future[T]]] = {key: [] for key in keys}
        order = list(asked)
        while asked:
            futures_of = sheltered(lambda: request(list(asked)))  # noqa: B023  It is called at once.
            for key, future in futures_of.items():
                asked[key].append(future)
            look_at = min(end, monotonic() + _LOOK_SECONDS)
            for key, futures in asked.items():
                if (done := self._first_done(futures, look_at, **about(key))) is not None:
                    outcome = self.outcome(done, **about(key))
                    found[key] = outcome
            silent = [key for key in asked if key not in found]
            answers = self.look_again() if silent else True
            if monotonic() >= (again_until if answers else end):
                for key in silent:
                    if not answers:
                        raise self.no_answer(**about(key))
                    found[key] = self._broker_is_away(**about(key))
                break
            passing = [key for key in asked if isinstance(error := found.get(key), MkError) and passes(error)]
            for key in passing:
                del found[key]
            asked = {key: asked[key] for key in silent} | {key: [] for key in passing}
            if passing and not silent:
                sleep(_PAUSE_SECONDS)
        return {key: found[key] for key in order}

    def ask_one(self, request: Callable[[], Future[T]], what: str, **facts: Any) -> T:
        """Return what is told of one thing. Raises the error that says `what`, such as "group g cannot be read", and why."""
        (found,) = self.ask(lambda _: {"": request()}, [""], lambda _: {"what": what, **facts}).values()
        if isinstance(found, MkError):
            raise found
        return found

    def change(self, request: Callable[[], Future[T]], what: str, **facts: Any) -> T:
        """Return what a request gives that changes something; sent again only if the answer is that it was not done now.

        Raises the error that says `what` and why. PeerUnreachableError: it may be done, or be still.
        """
        end = monotonic() + self.timeout_seconds
        while True:
            try:
                return self.change_once(request, what, **facts)
            except TryAgainError:
                if monotonic() + SLICE_SECONDS >= end:
                    raise
                sleep(SLICE_SECONDS)

    def change_once(self, request: Callable[[], Future[T]], what: str, **facts: Any) -> T:
        """Return what a request gives that is sent once, whatever is answered. Raises as `change`."""
        end = monotonic() + self.patience
        future = sheltered(request)
        while self._first_done([future], min(end, monotonic() + _LOOK_SECONDS), what, **facts) is None:
            if monotonic() >= end:
                raise self.no_answer(what, **facts)
            self.look_again()  # It waits for a controller that died until it hears who is it now.
        outcome = self.outcome(future, what, **facts)
        if isinstance(outcome, MkError):
            raise outcome
        return outcome

    def _first_done(self, futures: list[Future[T]], until: float, what: str, **facts: Any) -> Future[T] | None:
        """Return the first of some futures that is done, None if none is in time."""
        from concurrent.futures import FIRST_COMPLETED, wait

        while True:
            done, _ = wait(futures, max(0.0, min(SLICE_SECONDS, until - monotonic())), FIRST_COMPLETED)
            if done:
                return done.pop()
            self.admin.poll(0)  # Only this makes the library tell of connections.
            self.raise_if_denied(what, **facts)
            if monotonic() >= until:
                return None

    def outcome(self, future: Future[T], what: str, **facts: Any) -> T | MkError:
        """Return what a request that is done gives, or the error that says `what` and why."""
        try:
            result = future.result()
        except self.kafka.KafkaException as failure:
            self.admin.poll(0)
            return self.error(failure.args[0], what, **facts)
        self.heed_nothing()
        return result

    def look_again(self) -> bool:
        """Let the library hear anew which brokers there are, and who leads what. Tells whether one of them answered."""
        try:
            self.admin.list_topics(timeout=_LOOK_PATIENCE_SECONDS)
        except self.kafka.KafkaException:
            return False
        return True

    def _broker_is_away(self, what: str, **facts: Any) -> TryAgainError:
        """Return the error for what one broker does not answer, while others do."""
        why = "" if self._told is None or tells_nothing(self._told) else f" ({reason_of(self._told)})"
        return TryAgainError(
            what,
            why=f"the broker to ask does not answer{why}, and others do",
            fix="another takes over for one that is gone; run it again in a moment",
            code=BROKER_IS_AWAY,
            **facts,
        )

    def call(self, function: Callable[..., T], what: str, *arguments: object, **facts: object) -> T:
        """Return what a call of the library gives that takes a `timeout`, called again until the time is up.

        Of those that raise when it is up, such as list_topics and committed. Each time it has longer: a large cluster needs it.
        """
        end = monotonic() + self.patience
        patience = 0.5
        while True:
            try:
                result = function(*arguments, timeout=max(0.001, min(patience, end - monotonic())))
                self.heed_nothing()
                return result
            except self.kafka.KafkaException as failure:
                error: KafkaError = failure.args[0]
                patience *= 2
                self.admin.poll(0)  # Only this makes the library tell of connections.
                self.raise_if_denied(what, **facts)
                if not (is_unreachable(error) or error.retriable()) or monotonic() >= end:
                    raise self.error(error, what, **facts) from None

    def error(self, error: KafkaError, what: str, **facts: Any) -> MkError:
        """Return the error of mk for one of Kafka's; where nobody answers, with what was told of the connections."""
        if self._told is not None and is_denied(self._told) and (is_unreachable(error) or error is self._told):
            return error_of(self._told, what, fix=fix_of_login(self._told), **facts)
        return self.no_answer(what, **facts) if is_unreachable(error) else error_of(error, what, **facts)

    def no_answer(self, what: str, **facts: Any) -> MkError:
        """Return the error for a request that was not answered in time."""
        if self._told is not None and is_denied(self._told):
            return self.error(self._told, what, **facts)
        why = "" if self._told is None or tells_nothing(self._told) else reason_of(self._told)
        if not why:
            from mk.kafka_cluster.diagnosis import NEEDS_LOGIN, find_fault

            why = find_fault(self._address.brokers, self._address.properties, self._look_seconds)
            if why.endswith(NEEDS_LOGIN):
                return PermissionDeniedError(what, why=why, fix="look at the profile; nothing was done", **facts)
        return PeerUnreachableError(
            what,
            why=why or f"{self.location} did not answer within {self.timeout_seconds:g} s",
            fix="look whether the brokers run and can be reached from here, and run it again",
            **facts,
        )

    def raise_if_denied(self, what: str, **facts: object) -> None:
        """Raise PermissionDeniedError if a login was refused, which trying again does not mend."""
        if self._told is not None and is_denied(self._told):
            raise self.error(self._told, what, **facts)

    def heed(self, error: KafkaError) -> None:
        """Remember what the library tells of a connection."""
        # That all are down is told behind the reason for the last of them.
        if not tells_nothing(error) or self._told is None:
            self._told = error

    def told(self) -> KafkaError | None:
        """Return what the library told last that is not mended yet."""
        return self._told

    def heed_nothing(self) -> None:
        """Forget what was told: an answer came since."""
        self._told = None

    def _properties(self, without: tuple[str, ...]) -> dict[str, object]:
        given: dict[str, object] = {
            name: value for name, value in self._address.properties.items() if not name.startswith(without)
        }
        return {
            "client.id": "mk",
            "log_level": 0,
            "socket.connection.setup.timeout.ms": min(10_000, max(1000, int(self.timeout_seconds * 1000))),
            # Half of it is waited also between the first broker, which tells of the others, and the next one.
            "reconnect.backoff.ms": 20,
            "reconnect.backoff.max.ms": 1000,
            **given,
            "bootstrap.servers": self._address.brokers,
            "error_cb": self.heed,
        }

    def _lacks_token(self) -> bool:
        """Tell whether librdkafka would wait for a token from us, and say nothing."""
        mechanism = self.property("sasl.mechanism") or self.property("sasl.mechanisms")
        is_told = self.property("sasl.oauthbearer.method").lower() == "oidc" or self.property(
            "enable.sasl.oauthbearer.unsecure.jwt"
        )
        return mechanism == "OAUTHBEARER" and not is_told

    def _made(self, kind: Any, properties: dict[str, object]) -> Any:
        if self._lacks_token():
            raise ConfigurationError(
                "there is no token to log in with",
                why="sasl.mechanism=OAUTHBEARER needs to be told where they come from",
                fix="set sasl.oauthbearer.method=oidc, and what belongs to it, in the profile; nothing was done",
            )
        try:
            return kind(properties)
        except self.kafka.KafkaException as failure:
            # It may quote the value.
            named = [name for name in properties if name in failure.args[0].str()]
            secret = any(map(is_secret, named))
            unreadable = next(filter(None, (_unreadable(name, properties[name]) for name in named)), "")
            hint = next((_JAVA[name] for name in properties if name in _JAVA), "")
            raise ConfigurationError(
                "librdkafka does not take the properties of this cluster",
                why=f"it does not take {' and '.join(named)}" if secret else unreadable or reason_of(failure.args[0]),
                fix=(hint or "look at the profile, the URL and -X; CONFIGURATION.md of librdkafka lists its properties")
                + "; nothing was done",
            ) from None


def _unreadable(name: str, value: object) -> str:
    """Say why the file that a property names cannot be read, "" if that is not what is the matter."""
    if not name.endswith(".location"):
        return ""
    try:
        with open(str(value), "rb"):
            return ""
    except OSError as error:
        return f"{name}: {value} cannot be read: {error.strerror}"


def _dotted(properties: dict[str, object]) -> dict[str, object]:
    return {name.replace("_", "."): value for name, value in properties.items()}
