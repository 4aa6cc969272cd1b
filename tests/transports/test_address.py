"""Addresses: what is one of another host, and what would become a word of ssh's command line."""

import pytest

from mk.errors import UsageError
from mk.transport.address import Address, is_remote, parse_address
from mk.transport.kafka_address import parse_kafka_address


@pytest.mark.parametrize(
    ("text", "user", "host", "directory"),
    [
        ("host:/srv/mk", "", "host", "/srv/mk"),
        ("host:", "", "host", ""),
        ("ann@host:logs", "ann", "host", "logs"),
        ("a.b-c_d+1@h-1.example_2.org:/srv/mk:2", "a.b-c_d+1", "h-1.example_2.org", "/srv/mk:2"),
        ("127.0.0.1:-oProxyCommand=x", "", "127.0.0.1", "-oProxyCommand=x"),
        ("[::1]:/srv", "", "::1", "/srv"),
        ("ann@[fe80::1%eth0]:", "ann", "fe80::1%eth0", ""),
        ("[::ffff:1.2.3.4]:x]:y", "", "::ffff:1.2.3.4", "x]:y"),
        ("host:dir with spaces;$(rm)\n", "", "host", "dir with spaces;$(rm)\n"),
        ("host:~/log@home", "", "host", "~/log@home"),
        ("host:9092/", "", "host", "9092/"),
        ("host:./9092", "", "host", "./9092"),
        ("ann@host:9092", "ann", "host", "9092"),
        ("host:0", "", "host", "0"),
        ("host:65536", "", "host", "65536"),
        ("host:20240131", "", "host", "20240131"),
        ("host:9092x", "", "host", "9092x"),
        ("host:9092,x y", "", "host", "9092,x y"),
    ],
)
def test_an_address_is_taken_apart(text, user, host, directory):
    address = parse_address(text)
    assert is_remote(text) and isinstance(address, Address)
    assert (address.user, address.host, address.directory) == (user, host, directory)
    assert str(address) == text and parse_address(str(address)) == address
    assert address.destination == (f"{user}@{host}" if user else host)
    assert not address.destination.startswith("-")


@pytest.mark.parametrize(
    "text", ["/srv/mk", "mk", "./a:b", "/a:b", "a/b:c", "ann@x/y:z", ":x", "", ".", "-x", "[a]/b:c", "~/a:b"]
)
def test_a_path_is_of_this_host(text):
    assert not is_remote(text)
    assert parse_address(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "-oProxyCommand=touch x:dir",
        "-x@host:dir",
        "ann@-host:dir",
        "--:dir",
        "@host:dir",
        "ann@:dir",
        "a b:dir",
        "a\nb:dir",
        "h\u00f6st:dir",
        "\u0430:dir",
        "h;x:dir",
        "$(x):dir",
        "h'x:dir",
        "a@b@host:dir",
        ".host:dir",
        "[::1:dir",
        "[host]:dir",
        "[]:dir",
        "[::1%]:dir",
        "[::1%e;x]:dir",
        "[::1]x:dir",
        "-[::1]:dir",
        "ann@-[::1]:dir",
        "kafka://host:9092",
        "ssh://host/dir",
        "host:di\0r",
        "x" * 256 + ":dir",
        "x" * 65 + "@host:dir",
        "host:" + "x" * 4097,
    ],
)
def test_what_cannot_be_a_host_is_refused_and_nothing_is_run(text):
    assert is_remote(text)
    with pytest.raises(UsageError) as caught:
        parse_address(text)
    assert caught.value.what.isprintable() and len(caught.value.what) < 1000


@pytest.mark.parametrize("text", ["127.0.0.1:9092", "h-1.x:9092,h-2.x:9093", "h:9092,g", "[::1]:9092"])
def test_a_port_is_taken_for_a_broker_and_not_for_a_directory(text):
    assert is_remote(text)
    with pytest.raises(UsageError, match="is a host and a port") as caught:
        parse_address(text)
    cluster, _, directory = caught.value.fix.removeprefix("name it ").partition(", or ")
    assert cluster == f"kafka://{text}" and parse_kafka_address(cluster)
    assert isinstance(parse_address(directory.partition(" ")[0]), Address)
