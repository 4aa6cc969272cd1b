"""Addresses of Kafka clusters: what they may be, whose word counts, and that no error shows a secret."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mk.errors import MkError, UsageError
from mk.transport.kafka_address import (
    is_secret,
    parse_kafka_address,
    split_address,
    with_properties,
)

HOSTS = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,20}", fullmatch=True)
PORTS = st.integers(1, 65535)
BROKERS = st.lists(st.tuples(HOSTS, PORTS), min_size=1, max_size=4)
NAMES = st.text(st.characters(exclude_characters="=&%", exclude_categories=["Cs"]), min_size=1)
NAMES = NAMES.filter(lambda name: name not in ("profile", "mk.timeout.ms", "bootstrap.servers", "metadata.broker.list"))
VALUES = st.text(st.characters(exclude_categories=["Cs"]))
PROPERTIES = st.dictionaries(NAMES, VALUES, max_size=5)


@given(BROKERS, PROPERTIES)
def test_brokers_and_properties_come_back_whatever_is_in_them(brokers, properties):
    servers = ",".join(f"{host}:{port}" for host, port in brokers)
    address = parse_kafka_address(with_properties(f"kafka://{servers}", properties))
    assert address.brokers == servers and address.properties == properties
    assert str(address) == f"kafka://{servers}"


@given(BROKERS, PROPERTIES, PROPERTIES)
def test_what_is_added_counts_more_than_what_was_there(brokers, before, added):
    text = "kafka://" + ",".join(f"{host}:{port}" for host, port in brokers)
    both = with_properties(with_properties(text, before), added)
    assert split_address(both)[1] == {**before, **added}


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_any_text_is_an_address_or_refused(text):
    try:
        address = parse_kafka_address(f"kafka://{text}")
    except MkError as error:
        assert error.exit_status in (2, 78)
    else:
        assert address.brokers and address.timeout_ms > 0


def test_an_address_without_a_broker_says_that_a_profile_may_name_it():
    with pytest.raises(UsageError, match="names no Kafka cluster") as caught:
        parse_kafka_address("kafka://")
    assert "no profile has bootstrap.servers" in caught.value.why


SECRETS = st.text("abcdefghijklmnopqrstuvwxyzQZ0123456789", min_size=8)


@given(SECRETS, st.sampled_from(["kafka://ann:{}@h", "kafka://ann:{}@h:1,h2", "kafka://ann:{}?@h", "kafka://{}@h?a"]))
def test_what_stands_before_an_at_is_refused_and_not_shown(secret, form):
    with pytest.raises(UsageError) as caught:
        parse_kafka_address(form.format(secret))
    error = caught.value
    assert secret not in f"{error.what} {error.why} {error.fix} {error.facts}"


@given(SECRETS)
def test_no_error_shows_the_value_of_a_property(secret):
    for text in (f"kafka://?sasl.password={secret}", f"kafka://h:x?sasl.password={secret}", f"kafka://h?a={secret}&b"):
        with pytest.raises(UsageError) as caught:
            parse_kafka_address(text)
        assert secret not in f"{caught.value.what} {caught.value.why} {caught.value.fix} {caught.value.facts}"
    with pytest.raises(UsageError) as caught:
        parse_kafka_address(f"kafka://h?mk.timeout.ms={secret}x")
    assert secret not in str(caught.value.what)


@pytest.mark.parametrize(
    "text, brokers",
    [
        ("kafka://h", "h:9092"),
        ("kafka://h/", "h:9092"),
        ("kafka://h1,h2:1", "h1:9092,h2:1"),
        ("kafka://[::1]", "[::1]:9092"),
        ("kafka://[fe80::1%eth0]:1", "[fe80::1%eth0]:1"),
        ("kafka://10.0.0.1:19092", "10.0.0.1:19092"),
    ],
)
def test_a_broker_is_a_host_and_perhaps_a_port(text, brokers):
    assert parse_kafka_address(text).brokers == brokers


@pytest.mark.parametrize(
    "servers", ["", ",", "h:", "h:0", "h:65536", "h:-1", "[::1", "[]:1", "h h", "h:1:2", "h/x", ":1", "h,,i"]
)
def test_what_is_no_broker_is_refused(servers):
    if servers == "h:":
        assert parse_kafka_address("kafka://h:").brokers == "h:9092"
        return
    with pytest.raises(UsageError):
        parse_kafka_address(f"kafka://{servers}")


@pytest.mark.parametrize(
    "name",
    [
        "sasl.password",
        "SASL.PASSWORD",
        "ssl.key.password",
        "ssl.key.pem",
        "ssl.keystore.password",
        "sasl.oauthbearer.client.secret",
        "sasl.oauthbearer.client.credentials.client.secret",
        "sasl.oauthbearer.config",
        "sasl.oauthbearer.assertion.private.key.passphrase",
        "sasl.oauthbearer.assertion.private.key.pem",
        "sasl.jaas.config",
    ],
)
def test_a_secret_is_known_by_its_name(name):
    assert is_secret(name)


@pytest.mark.parametrize(
    "name",
    [
        "sasl.username",
        "ssl.ca.location",
        "ssl.key.location",
        "sasl.oauthbearer.assertion.private.key.file",
        "client.id",
    ],
)
def test_where_a_secret_is_is_none(name):
    assert not is_secret(name)


def test_a_profile_has_remarks_blanks_and_equal_signs(tmp_path):
    profile = tmp_path / "p"
    profile.write_text(
        "# bootstrap\n\n  sasl.username = ann \nsasl.password=a=b#c\nmk.timeout.ms=1234\n", encoding="utf-8"
    )
    address = parse_kafka_address(f"kafka://h?profile={profile}&client.id=x")
    assert address.properties == {"sasl.username": "ann", "sasl.password": "a=b#c", "client.id": "x"}
    assert address.timeout_ms == 1234
    assert parse_kafka_address(f"kafka://h?profile={profile}&mk.timeout.ms=5").timeout_ms == 5


def test_a_profile_names_the_brokers_for_an_address_that_does_not(tmp_path):
    profile = tmp_path / "p"
    profile.write_text("metadata.broker.list = a:1, b\n", encoding="utf-8")
    assert parse_kafka_address(f"kafka://?profile={profile}").brokers == "a:1,b:9092"
    assert parse_kafka_address(f"kafka://c?profile={profile}").brokers == "c:9092"


def test_a_timeout_that_is_said_counts_for_deliveries_also_where_it_is_the_default(tmp_path):
    profile = tmp_path / "profile"
    profile.write_text("mk.timeout.ms=10000\n")
    for address in ("kafka://h?mk.timeout.ms=10000", f"kafka://h?profile={profile}"):
        assert parse_kafka_address(address).has_timeout
        assert parse_kafka_address(address).timeout_ms == parse_kafka_address("kafka://h").timeout_ms
    assert not parse_kafka_address("kafka://h").has_timeout
