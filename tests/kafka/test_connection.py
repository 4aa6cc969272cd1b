"""What a Kafka cluster does that cannot be spoken with: one line that says why, the right status, in time, and no secret anywhere."""

import contextlib
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.cli.running import Mk

pytest.importorskip("confluent_kafka")

SECRET = "hunter2-is-secret"
PATIENCE_MS = 3000
IN_TIME = PATIENCE_MS / 1000 + 5
"""Seconds: less than without the limit, also where the machine is so busy that a command takes long to start."""


class Connections:
    """Runs commands with a profile of some properties, each of which may take PATIENCE_MS."""

    def __init__(self, tmp_path: Path) -> None:
        self.mk = Mk(tmp_path / "log")
        self.tmp_path = tmp_path

    def __call__(self, address, *words, timeout_ms=PATIENCE_MS, **properties):
        profile = self.tmp_path / "profile"
        lines = [f"{name.replace('_', '.')} = {value}\n" for name, value in properties.items()]
        profile.write_text("# of a test\n\n" + "".join(lines))
        url = f"kafka://{address}?profile={profile}"
        begun = time.monotonic()
        done = self.mk(*(words or ("topics",)), "-X", f"mk.timeout.ms={timeout_ms}", env={"MK_DIR": url})
        self.seconds = time.monotonic() - begun
        assert SECRET not in done.err and SECRET.encode() not in done.out
        return done


@pytest.fixture
def run(tmp_path):
    return Connections(tmp_path)


def is_one_error(done, status, *words):
    lines = done.err.splitlines()
    assert done.status == status, done
    assert [line.split(":")[0] for line in lines] == ["mk", "  why", "  fix"], done
    for word in words:
        assert word in done.err, done
    return True


@contextlib.contextmanager
def listening(answer=None, backlog=16):
    """Yield the address of a socket that takes connections, and answers with some bytes, or never does."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(backlog)
        if answer is not None:
            threading.Thread(target=_serve, args=(listener, answer), daemon=True).start()
        yield "{}:{}".format(*listener.getsockname())


def _serve(listener, answer):
    with contextlib.suppress(OSError):
        while True:
            connection, _ = listener.accept()
            with connection, contextlib.suppress(OSError):
                connection.recv(4)
                connection.sendall(answer)


# Nobody there.


def test_a_port_where_nobody_listens_is_69(run):
    assert is_one_error(run("127.0.0.1:1"), 69, "127.0.0.1:1: Connection refused")
    assert run.seconds < IN_TIME


def test_a_host_that_nobody_knows_is_69(run):
    assert is_one_error(run("no-such-host.invalid:9092"), 69, "no-such-host.invalid")
    assert run.seconds < IN_TIME


def test_who_takes_connections_and_never_answers_is_69_in_time(run):
    with listening() as address:
        assert is_one_error(run(address), 69, f"{address}: it takes connections, but does not answer")
        assert run.seconds < IN_TIME


def test_packets_that_are_swallowed_are_69_in_time(run):
    with contextlib.ExitStack() as stack:
        address = stack.enter_context(listening(backlog=0))
        host, port = address.split(":")
        for _ in range(3):  # The queue is full: the kernel answers no more, as a firewall that drops.
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                filler.connect((host, int(port)))
        assert is_one_error(run(address), 69, "it does not take the connection")
        assert run.seconds < IN_TIME


def test_what_is_no_kafka_is_said_to_be_none(run):
    with listening(b"HTTP/1.1 400 Bad Request\r\n\r\n") as address:
        assert is_one_error(run(address), 69, "no Kafka broker")


def test_one_broker_of_several_is_enough(run, broker):
    assert run(f"127.0.0.1:1,{broker.address}").status == 0


def test_a_timeout_of_a_command_is_one_for_the_connection_too(run):
    begun = time.monotonic()
    done = run.mk("wait", "orders", "--timeout", "2s", env={"MK_DIR": "kafka://127.0.0.1:1"})
    assert done.status == 69 and time.monotonic() - begun < IN_TIME


# Logins.


@pytest.fixture
def guarded(make_broker):
    return make_broker(users={"ann": SECRET, "bob": "other"}, acls=True)


LOGIN = {"security_protocol": "SASL_PLAINTEXT", "sasl_username": "ann", "sasl_password": SECRET}


def test_logins_are_taken_refused_and_asked_for(run, guarded):
    address = guarded.address
    for mechanism in ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"):
        assert run(address, sasl_mechanism=mechanism, **LOGIN).status == 0
        wrong = run(address, sasl_mechanism=mechanism, timeout_ms=20_000, **{**LOGIN, "sasl_password": f"not {SECRET}"})
        assert is_one_error(wrong, 77, "uthentication failed", "sasl.password in the profile")
        assert run.seconds < 10  # Trying again does not mend it.
        assert is_one_error(run(address, sasl_mechanism=mechanism, **{**LOGIN, "sasl_username": "eve"}), 77)
    assert is_one_error(run(address), 77, "it hangs up on whoever has not logged in")
    assert is_one_error(run(address, security_protocol="SASL_PLAINTEXT", sasl_mechanism="OAUTHBEARER"), 78, "token")
    assert is_one_error(run(guarded.open_address, sasl_mechanism="PLAIN", **LOGIN), 77, "handshake failed")
    # What the cluster does not allow to who has logged in.
    run.mk.ok("topics", "create", "orders", env={"MK_DIR": f"kafka://{guarded.open_address}"})
    for words in (
        ("topics", "create", "more"),
        ("topics", "describe", "orders"),
        ("topics", "offsets", "orders"),
        ("topics", "alter", "orders", "-p", "2", "--yes"),
        ("topics", "delete", "orders", "--yes"),
        ("topics", "trim", "orders", "--to", "end", "--yes"),
    ):
        assert is_one_error(run(address, *words, sasl_mechanism="PLAIN", **LOGIN), 77, "uthorization failed"), words
    assert run.mk.ok("topics", "-q", env={"MK_DIR": f"kafka://{guarded.open_address}"}) == b"orders\n"


# TLS.


def test_certificates_and_tls_on_one_side_only(run, make_broker, authority, tmp_path):
    from tests.kafka.authority import Authority

    broker = make_broker(authority=authority)
    own = {"security_protocol": "SSL", "ssl_ca_location": authority.certificate}
    other = Authority(tmp_path, "other").certificate
    assert run(broker.address, **own).status == 0
    untrusted = run(broker.address, **{**own, "ssl_ca_location": other})
    assert is_one_error(untrusted, 77, "certificate verify failed", "ssl.ca.location")
    assert is_one_error(run(broker.address), 69, "it speaks TLS", "security.protocol=plaintext")
    assert is_one_error(run(broker.open_address, **own), 69, "PLAINTEXT broker listener?")
    missing = run(broker.address, **{**own, "ssl_ca_location": "/nowhere/ca.pem"})
    assert is_one_error(missing, 78, "/nowhere/ca.pem cannot be read: No such file")


def test_tls_and_a_login_together(run, make_broker, authority):
    broker = make_broker(users={"ann": SECRET}, authority=authority)
    words = {**LOGIN, "security_protocol": "SASL_SSL", "sasl_mechanism": "SCRAM-SHA-256"}
    assert run(broker.address, **words, ssl_ca_location=authority.certificate).status == 0
    done = run(broker.address, **{**words, "security_protocol": "SASL_PLAINTEXT"})
    assert is_one_error(done, 69, "it speaks TLS", "security.protocol=sasl_plaintext")


# Leaders and replicas.


def test_a_broker_that_has_just_died_holds_up_no_command(run, make_brokers):
    brokers = make_brokers(3)
    run.mk.environment["MK_DIR"] = f"kafka://{brokers.address}?mk.timeout.ms=20000"
    run.mk.ok("topics", "create", "orders", "-p", 3)
    run.mk.ok("topics", "create", "strict", "-c", "min.insync.replicas=3")
    run.mk.ok("produce", "orders", "first")
    assert run.mk.ok("consume", "orders", "-g", "billing") == b"first\n"
    brokers.nodes[2].kill()
    # Who asks it, as the others still name it as leader or controller, gets no answer from it any more.
    commands = (
        ("topics",),
        ("topics", "describe", "orders"),
        ("topics", "offsets", "orders"),
        ("topics", "create", "invoices"),
        ("topics", "alter", "strict", "-c", "retention.ms=1d", "--yes"),
        ("groups", "describe", "billing"),
        ("consume", "orders", "-o", "earliest"),
        ("consume", "orders", "-g", "audit"),
        ("produce", "orders", "second"),
        ("top", "--once"),
    )
    with ThreadPoolExecutor(len(commands)) as pool:
        for words, done in zip(commands, pool.map(lambda words: run.mk(*words), commands)):
            assert done.status == 0, (words, done)
    done = run.mk("produce", "strict", "third", "-X", f"mk.timeout.ms={PATIENCE_MS}")
    assert done.status == 75 and "of 3 replicas of partition 0, 2 are in sync" in done.err, done
    assert "0 records stored" in done.err
    run.mk.ok("produce", "strict", "third", "--acks", "1")


# Properties.


def test_a_property_that_librdkafka_has_not_is_78(run):
    assert is_one_error(run("127.0.0.1:1", no_such="x"), 78, '"no.such"')
    assert is_one_error(run("127.0.0.1:1", security_protocol="x"), 78, "security.protocol")
    assert is_one_error(run("127.0.0.1:1", ssl_key_pem=SECRET, security_protocol="ssl"), 78, "ssl.key.pem")
    assert is_one_error(
        run("127.0.0.1:1", sasl_jaas_config=f'x password="{SECRET}"'), 78, "sasl.username and sasl.password"
    )


def test_the_command_line_counts_more_than_the_url_and_that_more_than_the_profile(run, tmp_path):
    profile = tmp_path / "profile"
    profile.write_text("client.id = profile\nsecurity.protocol = p1\n")
    for url, words, seen in (
        (f"kafka://127.0.0.1:1?profile={profile}", (), "p1"),
        (f"kafka://127.0.0.1:1?profile={profile}&security.protocol=u1", (), "u1"),
        (f"kafka://127.0.0.1:1?profile={profile}&security.protocol=u1", ("-X", "security.protocol=x1"), "x1"),
    ):
        done = run.mk("topics", *words, env={"MK_DIR": url})
        assert done.status == 78 and f'"{seen}"' in done.err


def test_a_profile_in_the_home_directory_names_the_brokers(run, broker):
    (run.mk.directory.parent / "prod.properties").write_text(f"bootstrap.servers = {broker.address}\n")
    for location in ("kafka://?profile=~/prod.properties", "kafka://"):
        words = () if "?" in location else ("-X", "profile=~/prod.properties")
        assert run.mk("topics", *words, env={"MK_DIR": location}).status == 0


@pytest.mark.parametrize(
    "content, says",
    [(None, "No such file"), (b"\xff\xfe", "not UTF-8"), (b"sasl.password " + SECRET.encode(), "line 1")],
)
def test_a_profile_that_cannot_be_read_is_78_and_not_shown(run, tmp_path, content, says):
    profile = tmp_path / "broken"
    if content is not None:
        profile.write_bytes(content)
    done = run.mk("topics", env={"MK_DIR": f"kafka://127.0.0.1:1?profile={profile}"})
    assert done.status == 78 and says in done.err and SECRET not in done.err


# Secrets.


@pytest.mark.parametrize(
    "words",
    [
        ("topics", "-X", f"sasl.password={SECRET}"),
        ("topics", "-d", f"kafka://h:1?sasl.password={SECRET}"),
        ("produce", "-X", f"ssl.key.pem={SECRET}", "orders", "x"),
        ("consume", "-X", f"sasl.oauthbearer.client.secret={SECRET}", "orders"),
        ("groups", "-X", f"SASL.PASSWORD={SECRET}"),
        ("replicate", f"kafka://h:1?sasl.password={SECRET}", "/tmp/nowhere"),
        ("replicate", "/tmp/nowhere", f"kafka://h:1?ssl.keystore.password={SECRET}"),
        ("-d", f"kafka://h:1?sasl.password={SECRET}", "topics"),
    ],
)
@pytest.mark.parametrize("more", [(), ("--json",)])
def test_a_secret_on_a_command_line_is_refused_and_not_repeated(run, words, more):
    done = run.mk(
        *words, *(() if words[0] in ("produce", "consume", "groups") and more else more), env={"MK_DIR": "kafka://h:1"}
    )
    assert done.status == 2, done
    assert SECRET not in done.err and SECRET.encode() not in done.out
    assert "must not stand on a command line" in done.err and "profile=FILE" in done.err


def test_a_login_before_the_host_is_refused_and_not_repeated(run):
    for url in (f"kafka://ann:{SECRET}@h:1", f"kafka://ann:{SECRET}?x@h:1", f"kafka://ann:{SECRET}@h1,h2"):
        for words in (("topics",), ("topics", "--json"), ("consume", "orders"), ("produce", "orders", "x")):
            done = run.mk(*words, env={"MK_DIR": url})
            assert done.status == 2 and SECRET not in done.err, done


def test_nobody_sees_a_secret_of_the_environment_in_the_list_of_processes(run, guarded):
    url = f"kafka://{guarded.address}?security.protocol=sasl_plaintext&sasl.mechanism=PLAIN&sasl.username=ann&sasl.password={SECRET}"
    run.mk.environment["MK_DIR"] = url
    assert run.mk("topics").status == 0
    with run.mk.start("top", "--once", "--interval", "2s") as process:
        time.sleep(1)
        assert SECRET.encode() not in Path(f"/proc/{process.pid}/cmdline").read_bytes()
        process.kill()
    for words in (
        ("topics", "describe", "x"),
        ("topics", "describe", "x", "--json"),
        ("topics", "create", "x", "--json"),
    ):
        done = run.mk(*words)
        assert done.status and SECRET not in done.err and SECRET.encode() not in done.out


def test_a_bug_shows_no_secret_with_its_traceback(run, tmp_path):
    broken = tmp_path / "broken" / "confluent_kafka"
    broken.mkdir(parents=True)
    (broken / "__init__.py").write_text("class KafkaException(Exception): pass\n")
    (broken / "admin.py").write_text("def AdminClient(properties): raise RuntimeError('no')\n")
    env = {"MK_DIR": f"kafka://h:1?sasl.password={SECRET}", "PYTHONPATH": str(broken.parent)}
    done = run.mk("topics", env=env)
    assert done.status == 70 and "Traceback" in done.err and SECRET not in done.err


# The library.


def without_the_library(tmp_path):
    """Return an environment in which confluent_kafka is as good as not installed."""
    blocked = tmp_path / "blocked" / "confluent_kafka"
    blocked.mkdir(parents=True)
    text = "raise ModuleNotFoundError(\"No module named 'confluent_kafka'\", name='confluent_kafka')\n"
    (blocked / "__init__.py").write_text(text)
    return {"PYTHONPATH": str(blocked.parent)}


@pytest.mark.parametrize(
    "words", ["topics", "groups", "produce orders x", "consume orders", "consume orders -g g", "top --once"]
)
def test_without_the_library_the_line_that_installs_it_is_said(run, tmp_path, words):
    done = run.mk(*words.split(), env={"MK_DIR": "kafka://h:1", **without_the_library(tmp_path)})
    assert is_one_error(done, 78, "confluent-kafka is not installed", "pip install 'mk-log[kafka]'")


def test_a_directory_needs_nothing_of_the_library(run, tmp_path):
    for words in ("produce orders x", "topics", "consume orders", "topics describe orders", "groups", "top --once"):
        assert run.mk(*words.split(), env=without_the_library(tmp_path / words.replace(" ", ""))).status == 0
    code = (
        "import sys; from mk.cli.main import main; main(['topics', 'describe', 'orders']);"
        "print([name for name in sys.modules if 'kafka_cluster' in name or name.startswith('confluent')])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=run.mk.environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "[]"
