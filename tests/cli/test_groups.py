"""`mk groups`: listing, describing, moving, copying and deleting consumer groups, by real commands."""

import json
import os
import re
import subprocess
import time

import pytest
from committing import commit
from running import KafkaMk, read_until

from mk import clock, connect

pytestmark = pytest.mark.both_engines


@pytest.fixture
def topic(mk):
    """Ten records in partition 0 and four in partition 1 of t; billing has read six of the first."""
    with connect(mk.location, create=True) as cluster:
        cluster.create_topic("t", partitions=2)
        for partition, values in enumerate(([b"%d" % number for number in range(10)], [b"a", b"b", b"c", b"d"])):
            with cluster.producer("t", partition=partition) as producer:
                for value in values:
                    producer.send(value)
    commit(mk, "billing", "t", 0, 6)
    return mk


def described(mk, group="billing"):
    with connect(mk.location) as cluster:
        return cluster.describe_group(group)


def stands(mk, group="billing"):
    """Return where a group stands: {(topic, partition): committed offset}."""
    rows = described(mk, group)["offsets"]
    return {
        (row["topic"], row["partition"]): row["committed_offset"] for row in rows if row["committed_offset"] is not None
    }


def journal(mk, group="billing"):
    lines = (mk.directory / "groups" / group / "journal").read_text().splitlines()
    return [json.loads(line) for line in lines]


def clean(mk):
    """Return what verify finds, as (kind, severity)."""
    if isinstance(mk, KafkaMk):
        return []  # Brokers look at their files themselves.
    with connect(mk.location) as cluster:
        found = [finding for name in cluster.topic_names() for finding in cluster.verify_topic(name).findings]
        return [(finding.kind, finding.severity) for finding in found + cluster.verify_groups()]


# Looking.


@pytest.mark.directory_only("Kafka knows no group that has committed nothing")
def test_the_list_shows_state_members_topics_and_lag(topic):
    commit(topic, "audit", "t", 1, None)
    assert json.loads(topic.ok("groups", "--json")) == [
        {"group": "audit", "state": "Empty", "members": 0, "topics": 1, "lag": 4},
        {"group": "billing", "state": "Empty", "members": 0, "topics": 1, "lag": 4},
    ]
    text = topic.ok("groups", "list").decode().splitlines()
    assert text[0].split() == ["GROUP", "STATE", "MEMBERS", "TOPICS", "LAG"]
    assert text[2].split() == ["billing", "Empty", "0", "1", "4"]
    assert topic.ok("groups", "-q") == b"audit\nbilling\n"
    assert topic.ok("groups", "list", "-q", "-r", "^b") == b"billing\n"
    assert json.loads(topic.ok("groups", "-q", "--json")) == ["audit", "billing"]


def test_a_directory_without_groups_has_none(mk):
    mk.ok("topics", "create", "t")
    assert mk.ok("groups") == b""
    assert json.loads(mk.ok("groups", "--json")) == []
    assert mk.ok("groups", "describe") == b""
    done = mk("groups", "describe", "billing")
    assert done.status == 66 and "no group billing" in done.err


def test_a_description_tells_where_a_group_stands_and_how_far_that_is_from_the_end(topic):
    document = described(topic)
    assert (document["group"], document["state"], document["members"], document["lag"]) == ("billing", "Empty", [], 4)
    (offset,) = document["offsets"]
    assert (offset["committed_offset"], offset["log_start_offset"], offset["high_watermark"]) == (6, 0, 10)
    assert offset["problem"] is None and offset["member"] is None
    text = topic.ok("groups", "describe", "billing").decode()
    assert re.search(r"^state +Empty$", text, re.MULTILINE)
    if isinstance(topic, KafkaMk):  # It does not tell when.
        assert offset["committed_ms"] is None
        assert re.search(r"^t +0 +6 +0 +10 +4( |$)", text, re.MULTILINE)
    else:
        assert offset["committed_ms"] > 1_700_000_000_000
        assert re.search(r"^t +0 +6 +0 +10 +4 +20\d\d-", text, re.MULTILINE)
    assert "PROBLEM" not in text


def test_sections_as_kafkas_tool_has_them(topic):
    assert topic.ok("groups", "describe", "billing", "--state").startswith(b"group ")
    assert b"TOPIC" not in topic.ok("groups", "describe", "billing", "-s")
    assert topic.ok("groups", "describe", "billing", "--offsets").startswith(b"TOPIC ")
    assert topic.ok("groups", "describe", "billing", "--members").startswith(b"MEMBER ")
    (document,) = json.loads(topic.ok("groups", "describe", "billing", "-o", "--json"))
    assert set(document) == {"group", "offsets"}


def test_several_groups_are_described_at_once_and_one_that_is_missing_is_named(topic):
    commit(topic, "audit", "t", 1, 2)
    assert [one["group"] for one in json.loads(topic.ok("groups", "describe", "--json"))] == ["audit", "billing"]
    assert [one["group"] for one in json.loads(topic.ok("groups", "describe", "-r", "bill", "--json"))] == ["billing"]
    done = topic("groups", "describe", "nobody", "billing", "-o")
    assert done.status == 66 and b"10" in done.out and "no group nobody" in done.err


@pytest.mark.directory_only("it looks at the files of the log")
def test_what_cannot_be_told_of_one_partition_is_said_and_hides_no_other(topic):
    commit(topic, "billing", "t", 1, 9)
    topic.ok("topics", "create", "gone")
    commit(topic, "billing", "gone", 0, 0)
    topic.ok("topics", "delete", "gone", "--yes")
    topic.ok("topics", "create", "u")
    commit(topic, "billing", "u", 0, 0)
    (claim,) = (topic.directory / "groups/billing/claims").glob(
        json.loads(topic.ok("topics", "describe", "u", "--json"))[0]["topic_id"] + "/0.*"
    )
    claim.write_bytes(b"damaged")
    topic.ok("topics", "trim", "t", "-p", "0", "--to", "8", "--yes")
    rows = {(row["topic"], row["partition"]): row for row in described(topic)["offsets"]}
    assert rows["t", 0]["problem"] == "offsets 6 to 7 were removed before they were read" and rows["t", 0]["lag"] == 2
    assert "up to offset 4 only" in rows["t", 1]["problem"] and rows["t", 1]["lag"] is None
    assert (rows["t", 1]["committed_offset"], rows["t", 1]["stands_at"]) == (9, 4)
    assert rows["gone", 0]["problem"] == "the topic is gone" and rows["gone", 0]["topic_is_gone"]
    assert "is damaged" in rows["u", 0]["problem"]
    assert "the topic is gone" in topic.ok("groups", "describe", "billing").decode()


@pytest.mark.directory_only("Kafka renames no topics")
def test_a_renamed_topic_is_found_by_its_id(topic):
    topic.ok("topics", "rename", "t", "renamed")
    assert stands(topic) == {("renamed", 0): 6}
    topic.ok("topics", "create", "t")
    assert stands(topic) == {("renamed", 0): 6}
    topic.ok("groups", "reset", "billing", "renamed:0", "--to", "2", "--yes")
    assert stands(topic) == {("renamed", 0): 2}


@pytest.mark.directory_only("Kafka forgets what a group had committed of a topic that is deleted")
def test_a_topic_that_was_made_anew_is_another_one(topic):
    topic.ok("topics", "delete", "t", "--yes")
    topic.ok("topics", "create", "t")
    (row,) = described(topic)["offsets"]
    assert (row["topic"], row["topic_is_gone"], row["problem"]) == ("t", True, "the topic is gone")


# Moving.


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--to", "start"], (0, 0)),
        (["--to", "end"], (10, 4)),
        (["--to", "3"], (3, 3)),
        (["--to", "-3"], (7, 1)),
        (["--to", "+3"], (3, 3)),
        (["--to", "0:5,1:end"], (5, 4)),
        (["--to", "1:2"], None),
        (["--to", "1:2,0:3"], (3, 2)),
        (["--to", "group:audit"], (0, 1)),
        (["--to", "@now"], (10, 4)),
        (["--to", "@-1h"], (0, 0)),
        (["--to", "earliest"], (0, 0)),
        (["--to", "9"], (9, 4)),
        (["--to-earliest"], (0, 0)),
        (["--to-latest"], (10, 4)),
        (["--to-offset", "9"], (9, 4)),
        (["--to-datetime", "2020-01-01T00:00:00.000"], (0, 0)),
        (["--by-duration", "PT1H"], (0, 0)),
        (["--by-duration", "0s"], (10, 4)),
        (["--shift-by", "-5"], (1, None)),
        (["--shift-by", "3"], (9, None)),
        (["--shift-by", "-50"], (0, None)),
        (["--shift-by", "50"], (10, None)),
        (["--to-current"], (6, None)),
        (["--to", "committed"], (6, None)),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_reset_goes_where_it_says_in_each_spelling(topic, words, expected):
    commit(topic, "audit", "t", 1, 1)
    done = topic("groups", "reset", "billing", "t", *words, "--yes")
    if expected is None:  # 1:2 is a range: one offset of every partition.
        assert done.status == 2 and "it is a range" in done.err
        return
    assert done.status == 0, done
    found = stands(topic)
    assert (found["t", 0], found.get(("t", 1))) == expected
    with connect(topic.location) as cluster:
        assert cluster.committed_offset("billing", "t", 0) == expected[0]
    assert clean(topic) == []


def test_a_reset_of_some_topics_and_partitions_leaves_the_others(topic):
    topic.ok("topics", "create", "u")
    topic.ok("produce", "u", "x", "y")
    commit(topic, "billing", "u", 0, 2)
    commit(topic, "billing", "t", 1, 3)
    topic.ok("groups", "reset", "billing", "t:1", "--to", "start", "--yes")
    assert stands(topic) == {("t", 0): 6, ("t", 1): 0, ("u", 0): 2}
    topic.ok("groups", "seek", "billing", "--topic", "u", "--topic", "t:0", "--to-earliest", "--execute")
    assert stands(topic) == {("t", 0): 0, ("t", 1): 0, ("u", 0): 0}
    topic.ok("groups", "reset", "billing", "--all-topics", "--to", "end", "--yes")
    assert stands(topic) == {("t", 0): 10, ("t", 1): 4, ("u", 0): 2}


@pytest.mark.directory_only("it looks at the files of the log")
def test_a_plan_comes_first_and_nothing_is_done_without_a_yes(topic):
    done = topic("groups", "reset", "billing", "--to", "start")
    assert done.status == 2 and "needs --yes" in done.err and "mk: moves billing t 0: 6 -> 0" in done.err
    done = topic("groups", "reset", "billing", "--to", "50", "--dry-run")
    assert done.status == 0
    assert [line.split() for line in done.out.decode().splitlines()][:2] == [
        ["GROUP", "TOPIC", "PARTITION", "COMMITTED", "NEW_OFFSET", "START", "END", "NOTE"],
        ["billing", "t", "0", "6", "10", "0", "10", "50", "is", "behind", "the", "end"],
    ]
    (row, _) = json.loads(topic.ok("groups", "reset", "billing", "--to", "start", "--dry-run", "--json"))
    assert (row["committed_offset"], row["new_offset"], row["note"]) == (6, 0, None)
    assert stands(topic) == {("t", 0): 6}
    assert not (topic.directory / "groups/billing/journal").exists()
    topic.ok("groups", "reset", "new", "t", "--to", "start", "--dry-run")
    assert topic.ok("groups", "-q") == b"billing\n"


@pytest.mark.parametrize(("answer", "status"), [(b"y\n", 0), (b"n\n", 2), (b"\n", 2)])
def test_it_asks_on_a_terminal(topic, terminal, answer, status):
    ours, theirs = terminal
    with topic.start("groups", "reset", "billing", "--to", "start", stdin=theirs, stderr=theirs) as process:
        read_until(ours, b"[y/N] ")
        os.write(ours, answer)
        assert process.wait(20) == status
    assert stands(topic)["t", 0] == (6 if status else 0)


@pytest.mark.directory_only("it looks at the files of the log")
def test_what_was_done_is_printed_as_json_with_the_change_it_was(topic):
    (row, other) = json.loads(topic.ok("groups", "reset", "billing", "--to", "start", "--yes", "--json"))
    assert (row["partition"], row["committed_offset"], row["new_offset"], row["change"]) == (0, 6, 0, 1)
    assert (other["partition"], other["committed_offset"], other["new_offset"]) == (1, None, 0)
    (change,) = journal(topic)
    assert (change["kind"], change["change"]) == ("reset", 1)
    assert change["command"] == "mk groups reset billing --to start --yes --json"
    assert [(one["partition"], one["before"], one["after"]) for one in change["offsets"]] == [(0, 6, 0), (1, -1, 0)]


def test_a_group_that_is_not_there_is_made_for_the_topics_that_are_named(topic):
    done = topic("groups", "reset", "new", "--to", "start", "--yes")
    assert done.status == 66 and "no group new" in done.err
    topic.ok("groups", "reset", "new", "t:0", "--to", "4", "--yes")
    assert stands(topic, "new") == {("t", 0): 4}
    assert clean(topic) == []


@pytest.mark.directory_only("it looks at the files of the log")
@pytest.mark.parametrize(
    ("words", "status", "says"),
    [
        (["reset", "billing", "nothing", "--to", "start"], 66, "no topic nothing"),
        (["reset", "billing", "t:7", "--to", "start"], 66, "topic t has no partition 7"),
        (["reset", "billing", "t", "--to", "7:5,0:1"], 66, "topic t has no partition 7"),
        (["reset", "billing", "t", "--to", "group:nobody"], 66, "no group nobody"),
        (["reset", "billing", "t"], 2, "where to is missing"),
        (["reset", "billing", "t", "--to", "start", "--to-latest"], 2, "both say where to go"),
        (["reset", "billing", "t", "--to", "5:7"], 2, "it is a range"),
        (["reset", "billing", "t", "--to", "soon"], 2, "'soon' is no offset"),
        (["reset", "billing", "t:x", "--to", "start"], 2, "TOPIC cannot be t:x"),
        (["reset", "billing", "t:", "--to", "start"], 2, "TOPIC cannot be t:"),
        (["reset", "billing", "t", "t:0", "--to", "start"], 2, "topic t is named twice"),
        (["reset", "billing", "t:0", "--to", "0:5,1:5"], 2, "exclude each other"),
        (["reset", "billing", "t", "--all-topics", "--to", "start"], 2, "exclude each other"),
        (["reset", "billing", "t", "--from-file", "x"], 2, "says which topics itself"),
        (["reset", "billing", "--from-file", "nowhere"], 66, "cannot read nowhere"),
        (["reset", "bill/ing", "t", "--to", "start"], 2, "cannot be the name of a group"),
        (["reset", "billing", "t", "--shift-by", "x"], 2, "--shift-by cannot be x"),
        (["reset", "billing", "t", "--by-duration", "P1M"], 2, "--by-duration cannot be P1M"),
        (["copy", "billing", "billing"], 2, "the same group"),
        (["copy", "nobody", "new"], 66, "no group nobody"),
        (["undo", "billing"], 66, "no change of group billing"),
        (["undo", "nobody"], 66, "no group nobody"),
        (["kick", "billing", "4121"], 66, "no member 4121"),
        (["kick", "nobody", "4121"], 66, "no group nobody"),
        (["delete", "nobody"], 66, "no group nobody"),
        (["delete"], 2, "GROUP is missing"),
        (["delete", "billing", "--topic", "u"], 66, "committed nothing of topic u"),
        (["prune"], 2, "TIME is missing"),
        (["import", "nowhere"], 66, "cannot read nowhere"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_what_is_refused_says_why_and_changes_nothing(topic, words, status, says):
    done = topic("groups", *words, *(["--yes"] if words[0] not in ("kick", "prune") else []))
    assert done.status == status, done
    assert says in done.err and "Traceback" not in done.err
    assert stands(topic) == {("t", 0): 6}
    assert [path.name for path in (topic.directory / "groups").iterdir()] == ["billing"]
    assert not (topic.directory / "groups/billing/journal").exists()


def test_a_log_that_was_cut_can_be_gone_on_with_from_where_it_still_is_the_same(topic):
    commit(topic, "billing", "t", 0, 14)
    done = topic("groups", "reset", "billing", "t:0", "--to-current", "--yes")
    assert done.status == 0 and "14 -> 10" in done.err
    assert topic.ok("consume", "t", "-p", "0", "-o", "group:billing") == b""


# Members.


@pytest.mark.directory_only("it looks at the files of the log")
def test_a_group_with_members_is_left_alone_and_they_are_named(topic):
    topic.ok("groups", "reset", "billing", "t", "--to", "start", "--yes")
    with topic.start("consume", "t", "-g", "billing", "-F") as member:
        read_until(member.stdout.fileno(), b"9\n")
        for words in (
            ["reset", "billing", "--to", "start", "--yes"],
            ["reset", "billing", "t:1", "--to", "start", "--yes", "--wait", "100ms"],
            ["copy", "billing", "billing2", "--yes"],
            ["undo", "billing", "--yes", "--force"],
            ["delete", "billing", "--yes"],
            ["delete", "billing", "--topic", "t", "--yes"],
        ):
            done = topic("groups", *words)
            if words[0] == "copy":
                assert done.status == 0, done  # From a group with members.
                continue
            assert done.status == 75, done
            assert "group billing has a member that lives" in done.err
            host = os.uname().nodename
            assert re.search(rf"process {member.pid} of \w+ on {host} \(mk consume t -g billing -F\)", done.err), done
            assert "nothing was changed" in done.err
        assert [change["kind"] for change in journal(topic)] == ["reset"]
        document = described(topic)
        (shown,) = document["members"]
        assert (document["state"], shown["pid"], shown["assignment"]) == ("Stable", member.pid, ["t:0,1"])
        assert {row["pid"] for row in document["offsets"]} == {member.pid}
        assert f" {member.pid} " in topic.ok("groups", "describe", "billing", "-m").decode()
        dry = topic("groups", "reset", "billing", "--to", "start", "--dry-run")
        assert dry.status == 0 and "1 member that must end first" in dry.err
        pruned = json.loads(topic.ok("groups", "prune", "--idle", "0s", "--dry-run", "--json"))
        assert [row["group"] for row in pruned] == ["billing2"]
        done = topic("groups", "import", "-", "--yes", stdin=b"billing,t,0,1\n", timeout=20)
        assert done.status == 75
    # Killed: no member any more, at once.
    topic.ok("groups", "reset", "billing", "--to", "start", "--yes")
    assert stands(topic) == {("t", 0): 0, ("t", 1): 0}


def test_it_waits_for_members_to_go(topic):
    topic.ok("groups", "reset", "billing", "t", "--to", "start", "--yes")
    with topic.start("consume", "t", "-g", "billing", "-F") as member:
        read_until(member.stdout.fileno(), b"9\n")
        with topic.start("groups", "reset", "billing", "--to", "2", "--yes", "--wait", "30s") as reset:
            with pytest.raises(subprocess.TimeoutExpired):
                reset.wait(0.3)
            member.terminate()
            assert reset.wait(20) == 0
    assert stands(topic) == {("t", 0): 2, ("t", 1): 2}


@pytest.mark.directory_only("the coordinator decides who is a member")
def test_a_member_that_is_kicked_loses_its_partitions_and_nothing_that_it_committed(topic):
    topic.ok("groups", "reset", "billing", "t", "--to", "start", "--yes")
    with topic.start("consume", "t", "-g", "billing", "-F") as member:
        read_until(member.stdout.fileno(), b"9\n")
        member.send_signal(19)  # stopped: it holds its claims, and can commit no more
        before = stands(topic)
        done = json.loads(topic.ok("groups", "kick", "billing", str(member.pid), "--json"))
        assert done["kicked"] and len(done["partitions"]) == 2
        assert stands(topic) == before
        assert {row["member"] for row in described(topic)["offsets"]} == {None}
        out = topic.ok("consume", "t", "-g", "billing", timeout=30)
        assert out in (b"", b"".join(b"%d\n" % number for number in range(10)) + b"a\nb\nc\nd\n") or out
        # Its process is there all the same.
        assert topic("groups", "reset", "billing", "--to", "start", "--yes").status == 75
    assert [kind for kind, severity in clean(topic) if severity != "note"] == []


# Lists.


@pytest.mark.directory_only("it looks at the files of the log")
def test_a_list_is_exported_edited_and_imported(topic):
    commit(topic, "audit", "t", 1, 3)
    text = topic.ok("groups", "export").decode()
    assert [line for line in text.splitlines() if not line.startswith("#")] == ["audit,t,1,3", "billing,t,0,6"]
    assert topic.ok("groups", "export", "audit").decode().splitlines()[2:] == ["audit,t,1,3"]
    edited = text.replace("billing,t,0,6", 'billing,t,0,-2  \n\n# and a new one\n"new","t",1,start').encode()
    done = topic("groups", "import", "-", "--yes", stdin=edited)
    assert done.status == 0 and "audit" not in done.err
    assert (stands(topic), stands(topic, "audit"), stands(topic, "new")) == (
        {("t", 0): 8},
        {("t", 1): 3},
        {("t", 1): 0},
    )
    assert [change["kind"] for change in journal(topic)] == ["import"]
    again = topic("groups", "import", "-", "--yes", stdin=text.encode())
    assert again.status == 0 and stands(topic) == {("t", 0): 6}
    assert json.loads(topic.ok("groups", "export", "billing", "--json")) == [
        {"group": "billing", "topic": "t", "partition": 0, "offset": 6}
    ]


def test_a_list_that_cannot_be_read_changes_nothing_and_says_so(topic):
    done = topic("groups", "import", "no-such-list", "--yes")
    assert done.status == 66
    assert "cannot read no-such-list" in done.err and "nothing was changed" in done.err and "stored" not in done.err


def test_kafkas_export_of_one_group_is_read_for_the_group_that_is_named(topic, tmp_path):
    path = tmp_path / "offsets.csv"
    path.write_text('"t",0,3\n"t",1,1\n')
    topic.ok("groups", "reset", "billing", "--from-file", path, "--execute")
    assert stands(topic) == {("t", 0): 3, ("t", 1): 1}
    done = topic("groups", "import", path, "--yes")
    assert done.status == 65 and "line 1" in done.err and "--from-file" in done.err
    path.write_text("other,t,0,3\n")
    done = topic("groups", "reset", "billing", "--from-file", path, "--execute")
    assert done.status == 65 and "is of group other, not billing" in done.err


@pytest.mark.parametrize("line", ["billing,t,0,soon", "billing,t,0,1:2", "billing,t,0", "billing,t,x,5"])
def test_a_line_that_is_none_changes_nothing(topic, line):
    done = topic("groups", "import", "-", "--yes", stdin=f"billing,t,1,2\n{line}\n".encode())
    assert done.status == 65 and "line 2" in done.err and "nothing was changed" in done.err
    assert stands(topic) == {("t", 0): 6}


@pytest.mark.directory_only("Kafka forgets what a group had committed of a topic that is deleted")
def test_what_cannot_be_in_the_list_is_named(topic):
    topic.ok("topics", "delete", "t", "--yes")
    done = topic("groups", "export")
    assert done.status == 0 and "not in the list: billing t 0: the topic is gone" in done.err
    assert [line for line in done.out.decode().splitlines() if not line.startswith("#")] == []


# Copying, taking back, deleting.


@pytest.mark.directory_only("Kafka knows no group that has committed nothing")
def test_a_copy_stands_where_the_other_one_stands(topic):
    commit(topic, "billing", "t", 1, None)
    topic.ok("groups", "copy", "billing", "test", "--yes")
    assert stands(topic, "test") == {("t", 0): 6}
    (row,) = described(topic, "test")["offsets"]
    assert row["leader_epoch"] == 0
    topic.ok("groups", "reset", "billing", "t:0", "--to", "9", "--yes")
    assert stands(topic, "test") == {("t", 0): 6}
    topic.ok("groups", "copy", "billing", "test", "--yes")
    assert stands(topic, "test") == {("t", 0): 9}


@pytest.mark.directory_only("it looks at the files of the log")
def test_changes_are_taken_back_one_after_the_other(topic):
    commit(topic, "billing", "t", 0, 6)
    topic.ok("groups", "reset", "billing", "--to", "start", "--yes")
    topic.ok("groups", "reset", "billing", "t:0", "--to", "9", "--yes")
    done = topic("groups", "undo", "billing")
    assert (
        done.status == 2
        and "takes back change 2" in done.err
        and "mk groups reset billing t:0 --to 9 --yes" in done.err
    )
    topic.ok("groups", "undo", "billing", "--yes")
    assert stands(topic) == {("t", 0): 0, ("t", 1): 0}
    topic.ok("groups", "undo", "billing", "--yes")
    assert stands(topic) == {("t", 0): 6}
    assert topic("groups", "undo", "billing", "--yes").status == 66
    assert [(change["kind"], change["undoes"]) for change in journal(topic)] == [
        ("reset", None),
        ("reset", None),
        ("undo", 2),
        ("undo", 1),
    ]
    assert clean(topic) == []


@pytest.mark.directory_only("it looks at the files of the log")
def test_what_was_committed_since_is_not_lost_by_taking_back(topic):
    topic.ok("groups", "reset", "billing", "t:0", "--to", "start", "--yes")
    commit(topic, "billing", "t", 0, 8)
    done = topic("groups", "undo", "billing", "--yes")
    assert done.status == 2 and "partition 0 of t went from 0 to 8" in done.err
    assert stands(topic) == {("t", 0): 8}
    topic.ok("groups", "undo", "billing", "--yes", "--force")
    assert stands(topic) == {("t", 0): 6}
    assert journal(topic)[-1]["offsets"][0]["before"] == 8


@pytest.mark.directory_only("Kafka renames no topics")
def test_taking_back_is_of_the_topic_that_it_was(topic):
    topic.ok("groups", "reset", "billing", "t:0", "--to", "start", "--yes")
    topic.ok("topics", "rename", "t", "renamed")
    topic.ok("groups", "undo", "billing", "--yes")
    assert stands(topic) == {("renamed", 0): 6}
    topic.ok("groups", "reset", "billing", "renamed:0", "--to", "start", "--yes")
    topic.ok("topics", "delete", "renamed", "--yes")
    topic.ok("topics", "create", "renamed")
    done = topic("groups", "undo", "billing", "--yes")
    assert done.status == 0 and "the topic is gone" in done.err and "nothing is to be changed" in done.err


@pytest.mark.directory_only("it looks at the files of the log")
def test_a_deleted_group_is_gone_and_begins_anew(topic):
    commit(topic, "audit", "t", 1, 3)
    done = topic("groups", "delete", "billing")
    assert done.status == 2 and "deletes group billing: offsets of 1 partition" in done.err
    assert topic("groups", "delete", "billing", "--dry-run").status == 0
    assert topic.ok("groups", "-q") == b"audit\nbilling\n"
    topic.ok("groups", "delete", "billing", "--yes")
    assert topic.ok("groups", "-q") == b"audit\n"
    assert sorted(path.name for path in (topic.directory / "groups").iterdir()) == ["audit"]
    topic.ok("groups", "delete", "billing", "--if-exists", "--yes")
    assert len(topic.ok("consume", "t", "-g", "billing").splitlines()) == 14
    topic.ok("groups", "delete", "-r", ".", "--yes")
    assert topic.ok("groups", "-q") == b""


@pytest.mark.directory_only("the journal of changes is in the directory")
def test_one_topic_of_a_group_is_deleted_and_can_be_brought_back(topic):
    topic.ok("topics", "create", "u")
    topic.ok("produce", "u", "x")
    commit(topic, "billing", "u", 0, 1)
    topic.ok("groups", "delete", "billing", "--topic", "t", "--yes")
    assert stands(topic) == {("u", 0): 1}
    topic.ok("groups", "undo", "billing", "--yes")
    assert stands(topic) == {("t", 0): 6, ("u", 0): 1}
    topic.ok("topics", "delete", "t", "--yes")
    assert [kind for kind, _ in clean(topic)] == ["orphaned-claims"]
    topic.ok("groups", "delete", "billing", "--topic", "t", "--yes")
    assert stands(topic) == {("u", 0): 1}
    assert clean(topic) == []


@pytest.mark.directory_only("Kafka does not tell when a group has committed")
def test_what_is_idle_is_pruned_and_nothing_else(topic):
    topic.ok("topics", "create", "gone")
    commit(topic, "mixed", "gone", 0, 0)
    topic.ok("topics", "delete", "gone", "--yes")
    assert topic.ok("groups", "prune", "--idle", "1h", "--yes") == b""
    assert topic.ok("groups", "-q") == b"billing\nmixed\n"
    commit(topic, "mixed", "t", 0, 5)
    rows = json.loads(topic.ok("groups", "prune", "mixed", "--idle", "0s", "--dry-run", "--json"))
    assert [(row["group"], row["topic"]) for row in rows] == [("mixed", None)]
    done = topic("groups", "prune", "--idle", "0s")
    assert done.status == 2 and topic.ok("groups", "-q") == b"billing\nmixed\n"
    topic.ok("groups", "prune", "-r", "^b", "--idle", "0s", "--yes")
    assert topic.ok("groups", "-q") == b"mixed\n"
    topic.ok("groups", "prune", "--idle", "0s", "--yes")
    assert topic.ok("groups", "-q") == b""


@pytest.mark.directory_only("Kafka does not tell when a group has committed")
def test_offsets_of_a_topic_that_is_gone_are_pruned_from_a_group_that_is_used(topic, monkeypatch):
    topic.ok("topics", "create", "gone")
    (gone_id,) = [one["topic_id"] for one in json.loads(topic.ok("topics", "describe", "gone", "--json"))]
    commit(topic, "billing", "gone", 0, 0)
    topic.ok("topics", "delete", "gone", "--yes")
    old: list = []
    while not old:  # Until its commit is so old.
        old = json.loads(topic.ok("groups", "prune", "--idle", "50ms", "--dry-run", "--json"))
    monkeypatch.setattr(clock, "now_ms", lambda: time.time_ns() // 1_000_000 + 3_600_000)
    commit(topic, "billing", "t", 0, 7)
    rows = json.loads(topic.ok("groups", "prune", "--idle", "50ms", "--yes", "--json"))
    assert [(row["group"], row["topic"], row["topic_id"]) for row in rows] == [("billing", "gone", gone_id)]
    assert stands(topic) == {("t", 0): 7}


# Who may not, and what cannot be.


@pytest.mark.directory_only("it looks at the files of the log")
def test_what_others_planted_in_a_group_is_named_and_not_followed(topic, tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("precious\n")
    journal_path = topic.directory / "groups/billing/journal"
    for plant in (journal_path.symlink_to, journal_path.hardlink_to):
        plant(victim)
        done = topic("groups", "reset", "billing", "--to", "start", "--yes")
        assert done.status == 65 and "journal is damaged" in done.err and "Traceback" not in done.err
        journal_path.unlink()
    os.mkfifo(journal_path)
    assert topic("groups", "reset", "billing", "--to", "start", "--yes", timeout=20).status == 65
    assert ("unknown-file", "warning") in clean(topic)
    journal_path.unlink()
    (topic.directory / "groups/billing/members").symlink_to(tmp_path)
    done = topic("groups", "reset", "billing", "--to", "start", "--yes")
    assert done.status not in (0, 70) and "Traceback" not in done.err
    assert topic("topics", "verify", timeout=20).status in (0, 65)
    assert stands_without_members(topic) == 6
    assert victim.read_text() == "precious\n"


def stands_without_members(mk):
    with connect(mk.location) as cluster:
        return cluster.committed_offset("billing", "t", 0)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full")
def test_a_full_output_does_not_undo_a_reset(topic):
    with open("/dev/full", "wb") as full:
        done = topic("groups", "reset", "billing", "t:0", "--to", "start", "--yes", "--json", stdout=full)
    assert done.status == 74
    assert stands(topic) == {("t", 0): 0}


@pytest.mark.directory_only("it looks at the files of the log")
def test_who_may_only_read_sees_no_groups_and_changes_none(topic, for_reader):
    reader, prefix = for_reader(topic)
    for words in (["list"], ["describe", "billing"], ["export"], ["reset", "billing", "t", "--to", "0", "--yes"]):
        done = reader("groups", *words, prefix=prefix)
        if os.geteuid() == 0:
            assert done.status == 77, done
        assert "Traceback" not in done.err
    assert stands(reader) == {("t", 0): 6}


@pytest.mark.parametrize("words", [["--json"], []])
def test_errors_are_json_for_programs(topic, words):
    done = topic("groups", "describe", "nobody", *words)
    assert done.status == 66
    if words:
        assert json.loads(done.err)["error"] == "NoSuchGroupError"
