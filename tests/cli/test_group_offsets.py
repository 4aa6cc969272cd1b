"""Where groups stand, as commands see it: reading from there, trimming to there, keeping records, checking claims."""

import json
import os
import shutil
import tempfile
from pathlib import Path

import pytest
from committing import commit
from running import Mk

pytestmark = pytest.mark.both_engines


@pytest.fixture
def topic(mk, made_once):
    """Ten records in partition 0, none in partition 1; billing has read six."""
    return made_once(mk, make_topic)


def make_topic(mk):
    mk.ok("topics", "create", "t", "-p", "2")
    mk.ok("produce", "t", "-p", "0", stdin=b"".join(b"%d\n" % number for number in range(10)))
    commit(mk, "billing", "t", 0, 6)


def claim_of(mk, group="billing", partition=0, generation=1):
    (found,) = (mk.directory / "groups" / group / "claims").glob(f"*/{partition}.{generation:010d}")
    return found


def findings(mk, *words):
    done = mk("topics", "verify", *words, "--json")
    assert done.status in (0, 65), done
    return done.status, json.loads(done.out)["findings"]


def test_reading_goes_on_where_a_group_stands(topic):
    assert topic.ok("consume", "t", "-o", "group:billing") == b"6\n7\n8\n9\n"
    assert topic.ok("consume", "t", "-o", "group:billing:end-1") == b"6\n7\n8\n"
    assert topic.ok("consume", "t", "-o", "4:group:billing") == b"4\n5\n"
    assert topic.ok("consume", "t", "-o", "0:group:billing,1:start") == b"6\n7\n8\n9\n"
    assert topic.ok("consume", "t", "--from", "2", "--to", "group:billing") == b"2\n3\n4\n5\n"
    assert topic.ok("consume", "t", "-o", "group:billing", "-n", "1") == b"6\n"
    assert topic.ok("consume", "t", "-F", "-o", "group:billing", "--idle", "50ms") == b"6\n7\n8\n9\n"
    assert topic.ok("consume", "-r", "^t", "-o", "group:billing") == b"6\n7\n8\n9\n"


@pytest.mark.directory_only("Kafka knows no group that has committed nothing")
def test_a_group_that_has_read_nothing_of_it_stands_at_the_start(topic):
    commit(topic, "audit", "t", 0, None)
    assert topic.ok("consume", "t", "-o", "group:audit").count(b"\n") == 10
    topic.ok("topics", "create", "u")
    topic.ok("produce", "u", "x")
    assert topic.ok("consume", "u", "-o", "group:billing") == b"x\n"


@pytest.mark.directory_only("it looks at the files of the log")
def test_a_group_that_is_not_there_is_66_and_named(topic):
    for words in (
        ("consume", "t", "-o", "group:nobody"),
        ("consume", "t", "-o", ":group:nobody"),
        ("topics", "trim", "t", "--to", "group:nobody", "--yes"),
    ):
        done = topic(*words)
        assert (done.status, done.out) == (66, b""), done
        assert done.err.startswith(f"mk: error: no group nobody in {topic.directory}\n")
        assert "Traceback" not in done.err
    assert topic.offsets("t")[0] == (0, 10)


def test_a_commit_that_the_log_does_not_have_is_65_and_reads_nothing(topic):
    commit(topic, "billing", "t", 0, 14)
    done = topic("consume", "t", "-o", "group:billing", "--json")
    assert (done.status, done.out) == (65, b"")
    error = json.loads(done.err)
    assert "group billing has committed offset 14 of partition 0 of t" in done.err
    assert "14" in json.dumps(error) and "`-p 0 -o 10` goes on there" in done.err
    done = topic("topics", "trim", "t", "--to", "group:billing", "--yes")
    assert done.status == 65
    assert topic.offsets("t")[0] == (0, 10)
    assert topic.ok("consume", "t", "-p", "0", "-o", "10") == b""


def test_a_commit_below_the_start_names_what_is_gone(topic):
    topic.ok("topics", "trim", "t", "-p", "0", "--to", "8", "--yes")
    done = topic("consume", "t", "-o", "group:billing")
    assert (done.status, done.out) == (0, b"8\n9\n")
    assert done.err == "mk: t 0: offsets 6 to 7 are gone; reading on at 8\n"


def test_trim_removes_what_a_group_has_read(topic):
    done = topic("topics", "trim", "t", "--to", "group:billing", "--dry-run", "--json")
    rows = json.loads(done.out)
    assert [(row["partition"], row["to"], row["records"]) for row in rows] == [(0, 6, 6), (1, 0, 0)]
    assert topic.offsets("t") == [(0, 10), (0, 0)]
    done = topic("topics", "trim", "t", "--to", "group:billing", "--yes")
    assert (done.status, done.err) == (0, "mk: removes from t 0: offsets 0 to 5, 6 records\n")
    assert topic.offsets("t") == [(6, 10), (0, 0)]
    assert topic.ok("consume", "t") == b"6\n7\n8\n9\n"
    topic.ok("topics", "trim", "t", "-p", "0", "--to", "group:billing", "--yes")
    assert topic.offsets("t") == [(6, 10), (0, 0)]


NOBODY = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")


@pytest.mark.directory_only("brokers verify their own files")
def test_whoever_may_only_read_is_told_that_groups_are_closed():
    with tempfile.TemporaryDirectory(prefix="mk-groups-") as top:
        os.chmod(top, 0o755)
        mk = Mk(Path(top) / "log")
        if shutil.which("setpriv") is None or mk("--version", prefix=NOBODY).status != 0:
            pytest.skip("needs root, setpriv, and an environment that others can reach")
        mk.ok("produce", "t", "x")
        commit(mk, "billing", "t", 0, 1)
        for words in (["consume", "t", "-o", "group:billing"], ["topics", "trim", "t", "--to", "group:billing"]):
            done = mk(*words, prefix=NOBODY)
            assert (done.status, done.out) == (77, b""), done
            assert "its groups/ directory is closed to you" in done.err
        assert mk.ok("consume", "t", prefix=NOBODY) == b"x\n"
        done = mk("topics", "verify", "--json", prefix=NOBODY)
        assert (done.status, json.loads(done.out)["findings"]) == (0, [])


@pytest.mark.directory_only("it looks at the files of the log")
@pytest.mark.parametrize(
    ("value", "kept"),
    [("billing", "billing"), ("a,b", "a,b"), ("a, b,a", "a,b"), ("all", "all"), ("", ""), ("A.b-c_1", "A.b-c_1")],
)
def test_retention_groups_takes_names_or_all(mk, value, kept):
    mk.ok("topics", "create", "t", "-c", f"retention.groups={value}")
    text = (mk.directory / "topics/t/topic.json").read_text()
    assert f'"retention.groups": "{kept}"' in text
    done = mk("topics", "alter", "t", "--unset", "retention.groups", "--yes")
    assert (done.status, done.err) == (0, f"mk: alters t: retention.groups {kept or '-'} -> - (default)\n")
    assert "retention.groups" not in (mk.directory / "topics/t/topic.json").read_text()


@pytest.mark.directory_only("retention.groups is a setting of directories")
@pytest.mark.parametrize("value", ["a,", ",", "a b", "../x", "all,a", ".a", "a\nb", "a;b", "x" * 201])
def test_retention_groups_refuses_what_is_no_name(mk, value):
    done = mk("topics", "create", "t", "-c", f"retention.groups={value}")
    assert done.status == 78, done
    assert "retention.groups cannot be" in done.err
    assert "names of groups with commas" in done.err
    assert done.err.count("\n") == 2


@pytest.mark.directory_only("brokers verify their own files")
def test_claims_that_are_right_are_no_finding(topic):
    assert findings(topic, "t") == (0, [])
    assert findings(topic) == (0, [])


@pytest.mark.directory_only("it looks at the files of the log")
def test_one_damaged_slot_is_a_note_and_two_are_damage(topic):
    path = claim_of(topic)
    data = path.read_bytes()
    path.write_bytes(b"x" * 100 + data[100:])
    status, (found,) = findings(topic, "t")
    assert (status, found["kind"], found["severity"], found["position"]) == (0, "damaged-slot", "note", 0)
    path.write_bytes(b"x" * 100 + data[100:4096] + b"y" * 100 + data[4196:])
    status, (found,) = findings(topic, "t")
    assert (status, found["kind"], found["severity"]) == (65, "damaged-claim", "damage")
    assert found["path"] == str(path.relative_to(topic.directory)) and found["partition"] == 0
    done = topic("consume", "t", "-o", "group:billing")
    assert (done.status, done.out) == (65, b"")
    assert "written nowhere else" in done.err
    # Another partition's check has nothing to do with it.
    assert findings(topic, "t", "-p", "1") == (0, [])


@pytest.mark.directory_only("it looks at the files of the log")
def test_an_earlier_generation_makes_damage_a_warning(topic):
    path = claim_of(topic)
    path.with_name("0.0000000002").write_bytes(b"damaged" * 1000)
    status, (found,) = findings(topic, "t")
    assert (status, found["kind"], found["severity"]) == (0, "damaged-claim", "warning")
    assert "an earlier generation is used" in found["found"]
    path.with_name("0.0000000002").rename(path.with_name("0.0000000004"))
    _, found = findings(topic, "t")
    assert sorted(one["kind"] for one in found) == ["damaged-claim", "missing-generation"]
    assert "generations 2 to 3 are missing" in found[-1]["found"]


@pytest.mark.directory_only("it looks at the files of the log")
def test_a_claim_of_another_topic_is_found_out(topic):
    topic.ok("topics", "create", "u")
    commit(topic, "audit", "u", 0, None)
    shutil.copy(claim_of(topic), claim_of(topic, "audit"))
    status, (found,) = findings(topic, "u")
    assert (status, found["kind"], found["severity"]) == (65, "damaged-claim", "damage")
    assert "its slot belongs to topic id" in found["found"]


@pytest.mark.directory_only("brokers verify their own files")
def test_a_commit_beyond_the_end_is_a_warning(topic):
    commit(topic, "billing", "t", 0, 14)
    status, (found,) = findings(topic, "t")
    assert (status, found["kind"], found["severity"], found["offset"]) == (0, "commit-beyond-end", "warning", 14)


@pytest.mark.directory_only("brokers verify their own files")
def test_claims_on_topics_that_are_gone_are_notes_of_verify_without_arguments(topic):
    topic.ok("topics", "create", "u")
    topic.ok("topics", "delete", "t", "--yes")
    assert findings(topic, "u") == (0, [])
    status, (found,) = findings(topic)
    assert (status, found["kind"], found["severity"], found["topic"]) == (0, "orphaned-claims", "note", "t")
    text = topic.ok("topics", "verify").decode()
    assert "orphaned-claims" in text and "group billing has claims on 1 partition" in text


@pytest.mark.directory_only("Kafka renames no topics")
def test_a_renamed_topic_keeps_its_claims(topic):
    topic.ok("topics", "rename", "t", "orders")
    assert topic.ok("consume", "orders", "-o", "group:billing") == b"6\n7\n8\n9\n"
    assert findings(topic) == (0, [])
    topic.ok("topics", "create", "t")
    assert topic.ok("consume", "t", "-o", "group:billing") == b""


def test_the_python_api_knows_groups_too(topic):
    import mk as api

    spec = api.parse_offset_spec("group:billing")
    assert (spec, str(spec)) == (api.OffsetSpec("group", group="billing"), "group:billing")
    assert spec != api.OffsetSpec("group", group="audit")
    with api.connect(topic.location) as cluster:
        assert [record.value for record in cluster.consumer(["t"], offset=spec)] == [b"6", b"7", b"8", b"9"]
        assert cluster.committed_offset("billing", "t", 0) == 6
        assert cluster.committed_offset("billing", "t", 1) is None
