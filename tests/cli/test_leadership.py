"""`mk replicate status | promote | salvage`, and what other commands show of leaders and copies."""

import json

import pytest
from running import Mk


@pytest.fixture
def copy(mk, tmp_path):
    """A copy of `mk`, which leads topics t and u; two records of t came later."""
    mk.ok("topics", "create", "t", "-p", 2)
    mk.ok("topics", "create", "u")
    mk.ok("produce", "t", "-p", 0, "a", "b")
    mk.ok("consume", "t", "-g", "g", "-n", 1)
    copy = Mk(tmp_path / "copy")
    mk.ok("replicate", mk.directory, copy.directory, "-q")
    mk.ok("produce", "t", "-p", 0, "c", "d")
    return copy


def status(mk, *words):
    return json.loads(mk.ok("replicate", "status", "--json", *words))


def roles(mk):
    return {(row["topic"], row["partition"]): row["role"] for row in status(mk)["partitions"]}


def test_status_tells_who_leads_and_how_far_copies_are_behind(mk, copy):
    here = status(mk, "t")
    assert [row["role"] for row in here["partitions"]] == ["leader", "leader"]
    (replica,) = here["partitions"][0]["replicas"]
    assert (replica["role"], replica["next_offset"], replica["lag"], replica["in_sync"]) == ("follower", 2, 2, False)
    assert replica["lag_ms"] >= 0 and replica["address"].endswith(f":{copy.directory}")
    assert here["partitions"][1]["replicas"][0]["in_sync"] is True
    there = status(copy)
    assert {row["role"] for row in there["partitions"]} == {"follower"}
    (leader,) = there["partitions"][0]["replicas"]
    assert (leader["role"], leader["next_offset"], leader["lag"], leader["in_sync"]) == ("leader", 2, 0, True)
    assert there["partitions"][0]["leader"] == here["directory_id"]
    text = copy.ok("replicate", "status").decode()
    assert f":{mk.directory}" in text and "follower" in text
    assert status(mk, "-r", "^u")["partitions"][0]["topic"] == "u"
    assert mk("replicate", "status", "nope").status == 66


def test_status_tells_which_way_other_directories_are_copied(mk, copy):
    def others(mk):
        (other,) = status(mk)["replicas"]
        heading, row = mk.ok("replicate", "status").decode().split("\n\n")[3].splitlines()[:2]
        shown = dict(zip(heading.split(), row.split()))
        assert (shown["FOLLOWS_THIS"], shown["FOLLOWED_BY_THIS"]) == (str(other["follows"]), str(other["followed"]))
        return other["follows"], other["followed"]

    assert (others(mk), others(copy)) == ((3, 0), (0, 3))
    copy.ok("replicate", "promote", "t", "-q")
    copy.ok("replicate", copy.directory, mk.directory, "--topics", "t", "-q")
    assert (others(mk), others(copy)) == ((1, 2), (2, 1))


def test_status_says_where_there_is_no_copy_and_how_another_directory_is_named(mk, tmp_path):
    mk.ok("topics", "create", "t")
    assert "no other directory is known" in mk("replicate", "status").err
    named = mk("replicate", "status", tmp_path)
    assert named.status == 2 and "put -d in front if it is a log directory" in named.err


def test_topics_show_leader_and_replicas(mk, copy):
    (document,) = json.loads(mk.ok("topics", "describe", "t", "--json"))
    partition = document["partitions"][0]
    assert (partition["leader"], partition["leader_address"]) == (document["directory_id"], None)
    assert [replica["lag"] for replica in partition["replicas"]] == [2]
    assert b"this directory" in mk.ok("topics", "describe", "t")
    assert f":{copy.directory}".encode() in mk.ok("topics", "describe", "t")
    (document,) = json.loads(copy.ok("topics", "describe", "t", "--json"))
    assert document["partitions"][0]["leader_address"].endswith(f":{mk.directory}")
    assert f"({document['partitions'][0]['leader_address']})".encode() in copy.ok("topics", "describe", "t")
    assert [row["leads"] for row in json.loads(mk.ok("topics", "--json"))] == [True, True]
    assert [row["leads"] for row in json.loads(copy.ok("topics", "--json"))] == [False, False]
    assert b"LEADER" not in mk.ok("topics")
    assert b"LEADER" in copy.ok("topics")
    copy.ok("replicate", "promote", "t")
    assert b"this" in copy.ok("topics")


def test_groups_are_shown_where_they_would_go_on(mk, copy):
    row = json.loads(copy.ok("groups", "describe", "g", "--json"))[0]["offsets"][0]
    assert (row["committed_offset"], row["is_replicated"], row["lag"]) == (1, True, 1)
    assert b"REPLICATED" in copy.ok("groups", "describe", "g")
    assert copy.ok("groups", "-q") == b"g\n"
    assert copy.ok("consume", "t", "-o", "group:g") == b"b\n"
    assert copy.ok("groups", "prune", "--idle", "0s", "--yes") == b""
    assert copy.ok("groups", "-q") == b"g\n"
    # A reset begins from nothing here, and is taken back to nothing.
    copy.ok("groups", "reset", "g", "t:0", "--to", "start", "--yes")
    assert copy.ok("consume", "t", "-o", "group:g") == b"a\nb\n"
    copy.ok("groups", "undo", "g", "--yes")
    assert copy.ok("consume", "t", "-o", "group:g") == b"b\n"
    copy.ok("groups", "delete", "g", "--yes")
    assert copy.ok("groups", "-q") == b""


def test_promote_says_what_it_does_and_what_to_do(mk, copy):
    done = copy("replicate", "promote", "--dry-run", "t")
    assert done.status == 0 and b"NEW_EPOCH" in done.out and f":{mk.directory}".encode() in done.out
    assert "moves group g in t 0: none -> 1" in done.err
    assert roles(copy)["t", 0] == "follower"
    done = copy("replicate", "promote", "t")
    assert done.status == 0
    assert "leads 2 partitions now" in done.err and f"mk replicate {copy.directory}" in done.err
    assert roles(copy) == {("t", 0): "leader", ("t", 1): "leader", ("u", 0): "follower"}
    again = copy("replicate", "promote", "t")
    assert again.status == 0 and "leads all of that already" in again.err
    document = json.loads(copy.ok("replicate", "promote", "--json"))
    assert {row["topic"] for row in document["partitions"]} == {"u"}
    assert set(roles(copy).values()) == {"leader"}
    copy.ok("produce", "t", "-p", 0, "e")
    # Nobody has told the old one yet. The wrong way round it hears of it, and is not copied.
    assert roles(mk)["t", 0] == "leader"
    assert mk("replicate", mk.directory, copy.directory).status == 75
    assert roles(mk) == {("t", 0): "fenced", ("t", 1): "fenced", ("u", 0): "fenced"}
    refused = mk("produce", "t", "f")
    assert refused.status == 75 and f":{copy.directory}" in refused.err


def test_promote_insists_on_force_where_records_are_known_to_be_missing(mk, copy):
    # A run that is ended at once has seen where the source ends, and copied nothing of it.
    follower = copy.directory / "replicas" / status(mk)["directory_id"] / "source"
    from mk.storage.log_directory import LogDirectory
    from mk.storage.replica_directory import note_source

    directory = LogDirectory(str(copy.directory))
    topic = directory.open_topic("t")
    note_source(directory, status(mk)["directory_id"], f"h:{mk.directory}", [(topic.topic_id, 0, 4)])
    topic.close()
    directory.close()
    assert follower.exists()
    refused = copy("replicate", "promote")
    assert refused.status == 75 and "lacks 2 records" in refused.err and "--force" in refused.err
    assert set(roles(copy).values()) == {"follower"}
    done = copy("replicate", "promote", "--force")
    assert done.status == 0 and "2 records of the old leader are not here" in done.err
    assert set(roles(copy).values()) == {"leader"}


def test_salvage_lists_asks_and_marks(mk, copy):
    assert "nothing to salvage" in copy("replicate", "salvage").err
    copy.ok("replicate", "promote", "t", "-q")
    copy.ok("replicate", copy.directory, mk.directory, "--topics", "t", "-q")
    (piece,) = status(mk)["quarantine"]
    assert (piece["records"], piece["diverged_records"], piece["salvaged"]) == (2, 2, False)
    listed = mk("replicate", "salvage", "--dry-run")
    assert listed.status == 0 and str(copy.directory).encode() in listed.out and piece["name"].encode() in listed.out
    assert mk("replicate", "salvage").status == 2
    assert mk("replicate", "salvage", "nope.log", "--yes").status == 66
    assert copy.offsets("t")[0] == (0, 2)
    done = mk("replicate", "salvage", "--yes")
    assert done.status == 0 and "stored 2 records" in done.err
    assert copy.ok("consume", "t", "-p", 0) == b"a\nb\nc\nd\n"
    assert json.loads(mk.ok("replicate", "salvage", "--yes", "--json"))[0]["salvaged"] is True
    assert copy.offsets("t")[0] == (0, 4)


def test_salvage_leaves_what_has_no_key_until_the_topic_takes_it(mk, copy):
    copy.ok("replicate", "promote", "t", "-q")
    copy.ok("topics", "alter", "t", "-c", "cleanup.policy=compact")
    copy.ok("replicate", copy.directory, mk.directory, "--topics", "t", "-q")
    done = mk("replicate", "salvage", "--yes")
    assert done.status == 65 and "has no key" in done.err
    assert copy.offsets("t")[0] == (0, 2)
    (piece,) = status(mk)["quarantine"]
    assert (piece["diverged_records"], piece["salvaged"]) == (2, False)
    copy.ok("topics", "alter", "t", "-c", "cleanup.policy=delete")
    assert "stored 2 records" in mk("replicate", "salvage", "--yes").err
    assert copy.ok("consume", "t", "-p", 0) == b"a\nb\nc\nd\n"


@pytest.mark.parametrize("command", ["status", "promote", "salvage"])
def test_who_leads_is_not_decided_from_afar(mk, command):
    refused = mk("replicate", command, "-d", "ann@far.example:/srv/mk")
    assert refused.status == 2
    assert f"ssh ann@far.example mk replicate {command} -d /srv/mk" in refused.err
    assert mk("replicate", command, "-d", "/nowhere/at/all").status == 66
