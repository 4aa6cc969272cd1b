"""`mk top` on real pseudo-terminals: what stands on the screen, what keys and signals do, and how the terminal is left."""

import json
import os
import re
import signal
import subprocess
import time

import pytest
from terminal import Terminal
from test_remote import fake_ssh

import mk as api
from mk.cli.definitions.top import TOP
from mk.cli.drawing import ASCII, BLOCKS, letters

BOXES = set(BLOCKS.bar + BLOCKS.columns + BLOCKS.cut + BLOCKS.rising + BLOCKS.falling)
GIVEN_BACK = b"\x1b[?25h\x1b[?1049l"
FAST = ("-i", "100ms")


@pytest.fixture
def some(mk):
    """Three topics, one of them with two partitions and a group that is behind."""
    for name, records in (("orders", 30), ("logs", 7), ("empty", 0)):
        mk.ok("topics", "create", name, "-p", 2 if name == "orders" else 1)
        mk.ok("produce", name, stdin="".join(f"{number}\n" for number in range(records)).encode())
    mk.ok("consume", "-g", "billing", "orders", "-n", 10)
    return mk


def on_terminal(mk, *words, size=(80, 24), **env):
    return Terminal([mk.program, "top", *words], size=size, env={**mk.environment, **env})


def lines_of(terminal, name):
    return [line for line in terminal.text.splitlines() if re.match(rf"[ >]{name}\b", line)]


def sorted_by(terminal):
    return re.search(r"(\S+(?: \S+)*)[▲▼]", terminal.text.splitlines()[2])[1]


# What it shows.


@pytest.mark.every_case
@pytest.mark.parametrize("size", [(80, 24), (200, 60)])
def test_the_screen_has_topics_and_groups_and_nothing_wraps(some, size):
    with on_terminal(some, *FAST, size=size) as terminal:
        terminal.until("rates over")
        assert lines_of(terminal, "orders")[0].split()[1:3] == ["2", "30"]
        assert lines_of(terminal, "logs")[0].split()[1:3] == ["1", "7"]
        assert re.match(r".billing +0 +1 +20\b", lines_of(terminal, "billing")[0])
        assert terminal.text.splitlines()[0].startswith(f"mk top - {some.directory}"[: 80 - 50])
        assert "q quit" in terminal.text.splitlines()[-1]
        terminal.type("q")
        assert terminal.end() == 0
    assert terminal.raw.endswith(GIVEN_BACK)


def test_the_help_is_whole_in_eighty_columns(some):
    with on_terminal(some, "-i", "1h") as terminal:
        terminal.until("first look")
        terminal.type("?")
        terminal.until("any key goes back")
        # The first line may shorten the name of the directory.
        assert "…" not in terminal.text.partition("\n")[2]
        terminal.type(" ")
        terminal.until("IN/S")
        terminal.type("q")
        assert terminal.end() == 0


def test_the_first_look_says_that_it_has_no_rates_yet(some):
    with on_terminal(some, "-i", "1h") as terminal:
        terminal.until("first look, rates come with the next, in 1h")
        assert "no rates yet" in terminal.text
        assert lines_of(terminal, "orders")[0].split()[5:8] == ["-", "-", "-"]


def test_rates_are_those_of_a_producer_and_of_a_group(some):
    with api.connect(str(some.directory)) as cluster, on_terminal(some, "-i", "500ms") as terminal:
        terminal.until("rates over")
        reader = cluster.group_consumer("billing", ["orders"], follow=True, commit_interval_ms=50, idle_ms=60_000)
        records = iter(reader)
        seen = set()
        with cluster.producer("orders", partition=0) as producer:
            limit = time.monotonic() + 20
            while time.monotonic() < limit and len(seen) < 3:
                for _ in range(20):
                    producer.send(b"x" * 100)
                producer.flush()
                next(records)
                terminal.read(0.01)
                cells = lines_of(terminal, "orders")[0].split() if lines_of(terminal, "orders") else []
                if len(cells) > 7 and cells[5] not in ("-", "0") and cells[8] not in ("-", "0"):
                    seen.add(tuple(cells[5:9]))
        assert len(seen) == 3, terminal.text
        terminal.type("q")
        assert terminal.end() == 0
        reader.close()


def test_an_idle_screen_is_not_written_again(some):
    with on_terminal(some, *FAST, "-r", "no such") as terminal:
        terminal.until("no topics with no such in their names")
        terminal.until("rates over 0.1")
        terminal.raw = b""
        limit = time.monotonic() + 1.5
        while time.monotonic() < limit:
            terminal.read(0.1)
        # The clock in the first line, and no more.
        assert set(re.findall(rb"\x1b\[(\d+);1H", terminal.raw)) <= {b"1"}
        assert b"\x1b[2J" not in terminal.raw


def test_topics_and_partitions_that_come_and_go_are_shown(some):
    with on_terminal(some, *FAST) as terminal:
        terminal.until("orders")
        some.ok("topics", "create", "brand-new")
        terminal.until("brand-new")
        some.ok("topics", "delete", "brand-new", "--yes")
        terminal.until(lambda terminal: "brand-new" not in terminal.text)
        some.ok("topics", "alter", "logs", "--partitions", "3", "--yes")
        terminal.until(lambda terminal: lines_of(terminal, "logs")[0].split()[1] == "3")


def test_what_is_damaged_is_named_and_the_rest_is_shown(some):
    (some.directory / "topics/logs/0/state").write_bytes(b"nothing")
    with on_terminal(some, *FAST, size=(200, 30)) as terminal:
        terminal.until("partition 0: topics/logs/0/state is damaged: neither of its slots can be read")
        assert lines_of(terminal, "logs")[0].split()[1:5] == ["1", "-", "-", "-"]
        assert lines_of(terminal, "orders")[0].split()[2] == "30"


def test_groups_that_may_not_be_looked_at_are_said_to_be_closed(some, for_reader):
    copy, prefix = for_reader(some)
    if not prefix:
        (copy.directory / "groups").chmod(0)
    done = copy("top", "--once", "--json", *FAST, prefix=prefix)
    if not prefix:
        (copy.directory / "groups").chmod(0o700)
    document = json.loads(done.out)
    assert document["groups"] is None
    assert document["unseen"][0]["what"] == "groups"
    assert [topic["records_out_per_s"] for topic in document["topics"]] == [None] * 3


def test_of_several_groups_the_one_that_is_closed_is_named(some, for_reader):
    some.ok("consume", "-g", "mail", "orders", "-n", 3)
    copy, prefix = for_reader(some)
    closed = copy.directory / "groups/billing"
    for path in (copy.directory / "groups").rglob("*"):
        path.chmod(0o755)
    (copy.directory / "groups").chmod(0o755)
    closed.chmod(0)
    done = copy("top", "--once", "--json", *FAST, prefix=prefix)
    checked = copy("check", "--json", prefix=prefix)
    closed.chmod(0o700)
    document = json.loads(done.out)
    groups = {group["group"]: (group["lag"], group["problem"]) for group in document["groups"]}
    said = f"you may not look at group billing of {copy.directory}: its groups/billing/ directory is closed to you"
    assert groups == {"billing": (None, said), "mail": (27, None)}
    assert document["unseen"] == []
    assert {"what": "groups", "why": "its groups/billing/ directory is closed to you"} in json.loads(checked.out)[
        "unseen"
    ]


def test_copies_that_cannot_be_looked_at_are_named_above_the_rest(some, tmp_path):
    (some.directory / "replicas").symlink_to(tmp_path)
    with on_terminal(some, *FAST, size=(200, 30)) as terminal:
        terminal.until("rates over 0.1")
        assert re.search(r"in 0/s 0 B/s, groups: .*replicas.*, replicas: .*replicas", terminal.text.splitlines()[1])
        assert lines_of(terminal, "orders")[0].split()[2] == "30"
        assert "groups cannot be looked at" in terminal.text


# Keys.


def test_keys_choose_sort_filter_open_and_explain(some):
    with on_terminal(some, *FAST) as terminal:
        terminal.until("rates over")
        terminal.until(">empty")
        terminal.type("jj")
        terminal.until(">orders")
        terminal.type("\r")
        terminal.until("PARTITION")
        assert re.search(r"^> +0 .*\n +1 ", terminal.text, re.M)
        terminal.until("billing")  # which reads it
        terminal.type("\x1b[B\x1b[B\r")
        terminal.until("COMMITTED")
        terminal.type("\x1b")
        terminal.until("BYTES IN/S")
        terminal.type("\x1b")
        terminal.until("TOPIC")
        terminal.type("/^lo\r")
        terminal.until(lambda terminal: not lines_of(terminal, "orders") and lines_of(terminal, "logs"))
        terminal.type("/(\r")
        terminal.until("no regular expression")
        terminal.type(b"\x7f\x7f\x7f\x7f\x7f\r")
        terminal.until(lambda terminal: lines_of(terminal, "orders"))
        terminal.type("g")
        for _ in range(12):  # round once, through all columns, until it is sorted by name
            if sorted_by(terminal) == "TOPIC":
                break
            before = sorted_by(terminal)
            terminal.type("s")
            terminal.until(lambda terminal, before=before: sorted_by(terminal) != before)
        in_order = ["empty", "logs", "orders"]
        terminal.until(lambda terminal: [line[1:7].strip() for line in terminal.text.splitlines()[3:6]] == in_order)
        terminal.type("r")
        terminal.until(lambda terminal: terminal.text.splitlines()[3][1:7] == "orders")
        terminal.type("?")
        terminal.until("any key goes back")
        terminal.type("x")
        terminal.until("TOPIC")
        terminal.type("\t")
        terminal.until(">billing")
        terminal.type("q")
        assert terminal.end() == 0


def test_a_group_that_is_opened_shows_who_owns_what(some):
    with some.start("consume", "-F", "-g", "live", "orders", stdout=subprocess.DEVNULL) as member:
        with on_terminal(some, *FAST, "-r", "live", size=(160, 24)) as terminal:
            terminal.until(lambda terminal: lines_of(terminal, "live"))
            terminal.type("\t\r")
            terminal.until(lambda terminal: terminal.text.count(f":{member.pid}") == 3)
            assert "consume -F -g live orders" in terminal.text
        member.terminate()
        member.communicate()


# Ends, and what is left behind.


@pytest.mark.every_case
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_it_with_the_terminal_as_it_was(some, number):
    with on_terminal(some, *FAST) as terminal:
        terminal.until("rates over")
        assert terminal.attributes != terminal.before
        terminal.process.send_signal(number)
        assert terminal.end() == 128 + number
        assert terminal.attributes == terminal.before
    assert terminal.raw.endswith(GIVEN_BACK)


def test_an_impatient_person_gets_the_terminal_back_too(some):
    for pause in (0, 0.001, 0.003, 0.01):
        with on_terminal(some, *FAST) as terminal:
            terminal.until("rates over")
            for _ in range(3):
                if terminal.process.poll() is None:
                    terminal.process.send_signal(signal.SIGINT)
                time.sleep(pause)
            assert terminal.end() == 130
            assert terminal.attributes == terminal.before, pause
        assert terminal.raw.endswith(GIVEN_BACK)


def test_ctrl_c_as_a_key_ends_it_too(some):
    with on_terminal(some, *FAST) as terminal:
        terminal.until("rates over")
        terminal.type(b"\x03")
        assert terminal.end() == 130
        assert terminal.attributes == terminal.before
    assert terminal.raw.endswith(GIVEN_BACK)


def test_a_terminal_that_goes_away_ends_it_silently(some):
    with on_terminal(some, *FAST) as terminal:
        terminal.until("rates over")
        terminal.hang_up()
        assert terminal.process.wait(30) in (-signal.SIGHUP, 128 + signal.SIGHUP)


def test_ctrl_z_gives_the_terminal_back_and_fg_draws_anew(some):
    with Terminal(["bash", "--norc", "--noprofile", "-i"], env={**some.environment, "PS1": "ready> "}) as terminal:
        terminal.until("ready>")
        before = terminal.attributes
        terminal.type(f"{some.program} top -i 100ms\r")
        terminal.until("rates over")
        terminal.raw = b""
        terminal.type(b"\x1a")
        terminal.until(lambda terminal: b"Stopped" in terminal.raw)
        assert GIVEN_BACK in terminal.raw
        terminal.until(lambda terminal: terminal.attributes == before)
        terminal.raw = b""
        terminal.type("fg\r")
        terminal.until(lambda terminal: b"\x1b[?1049h" in terminal.raw and lines_of(terminal, "orders"))
        terminal.raw = b""
        terminal.type("q")
        terminal.until(
            lambda terminal: GIVEN_BACK in terminal.raw and b"ready>" in terminal.raw.partition(GIVEN_BACK)[2]
        )
        assert terminal.attributes == before
        terminal.type("exit\r")
        terminal.end()


def test_behind_a_stop_that_nobody_sees_coming_it_takes_the_terminal_again(some):
    with on_terminal(some, *FAST) as terminal:
        terminal.until("rates over")
        terminal.process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, terminal.process.pid, os.WSTOPPED)
        terminal.raw = b""
        terminal.process.send_signal(signal.SIGCONT)
        terminal.until(lambda terminal: b"\x1b[?1049h" in terminal.raw and b"orders" in terminal.raw)
        terminal.type("q")
        assert terminal.end() == 0


def test_another_size_is_drawn_at_once(some):
    with on_terminal(some, "-i", "1h", size=(80, 24)) as terminal:
        terminal.until("first look")
        for columns, lines in ((200, 60), (40, 10), (12, 3), (80, 24)):
            terminal.resize(columns, lines)
            terminal.until(
                lambda terminal, width=columns: (
                    len(terminal.screen.display[0].rstrip()) > 0 and "q quit"[:width] in terminal.screen.display[-1]
                )
            )
        assert lines_of(terminal, "orders")
        terminal.type("q")
        assert terminal.end() == 0


# Other terminals, and none.


@pytest.mark.every_case
@pytest.mark.parametrize(
    "env", [{"LC_ALL": "C"}, {"LC_ALL": "", "LANG": "C"}, {"LC_ALL": "", "LANG": ""}, {"LC_ALL": "POSIX"}]
)
def test_a_locale_without_boxes_gets_none(some, env):
    with on_terminal(some, *FAST, size=(200, 24), **env) as terminal:
        terminal.until("rates over 0.1")
        terminal.type("\t\r")
        terminal.until("COMMITTED")
        assert not BOXES & set(terminal.raw.decode())
        assert terminal.raw.isascii()


def test_a_locale_of_utf_8_gets_them(some):
    with on_terminal(some, *FAST, size=(200, 24)) as terminal:
        terminal.until("▁▁▁")


def test_without_color_there_is_none(some):
    for words, env in (((), {"NO_COLOR": "1"}), (("--no-color",), {})):
        with on_terminal(some, *FAST, *words, **env) as terminal:
            terminal.until("rates over")
            assert not re.search(rb"\x1b\[[0-9;]*[34][0-7]m", terminal.raw)
    with on_terminal(some, *FAST) as terminal:
        terminal.until("rates over")
        assert b"\x1b[1;36m" in terminal.raw


def test_off_a_terminal_it_says_how_to_ask_once(some, terminal):
    done = some("top")
    assert done.status == 2
    assert done.err.count("\n") == 2 and "mk top --once" in done.err
    with on_terminal(some, TERM="dumb") as dumb:
        assert dumb.end() == 2
        assert "mk top --once" in dumb.text
    ours, theirs = terminal
    assert some("top", stdin=theirs).status == 2
    assert some("top", "--json").status == 2


def test_no_directory_is_told_before_the_screen_is_taken(mk):
    with on_terminal(mk) as terminal:
        assert terminal.end() == 66
        assert b"\x1b[?1049h" not in terminal.raw


# Once.


def test_once_prints_two_looks_as_text_and_as_json(some):
    out = some.ok("top", "--once", *FAST).decode()
    assert re.search(r"^orders +2 +30 ", out, re.M)
    assert re.search(r"^billing +0 +1 +20 ", out, re.M)
    with (
        some.start("produce", "logs", stdin=subprocess.PIPE) as producer,
        some.start("top", "--once", "--json", "-i", "2s", stdout=subprocess.PIPE) as top,
    ):
        while top.poll() is None:
            producer.stdin.write(b"x\n" * 10)
            producer.stdin.flush()
            time.sleep(0.02)
        document = json.loads(top.communicate()[0])
        producer.stdin.close()
        producer.wait()
    assert document["elapsed_ms"] >= 2000
    topics = {topic["topic"]: topic for topic in document["topics"]}
    assert topics["logs"]["records_in_per_s"] > 0 and topics["logs"]["bytes_in_per_s"] > 0
    assert topics["orders"]["records_in_per_s"] == 0
    assert [row["high_watermark"] for row in topics["orders"]["partitions"]] == [15, 15] or sum(
        row["records"] for row in topics["orders"]["partitions"]
    ) == 30
    (group,) = document["groups"]
    assert (group["group"], group["lag"], group["member_count"], group["topics"]) == ("billing", 20, 0, ["orders"])


@pytest.mark.parametrize("file", ["topic.json", "0/state", "0/epochs"])
def test_once_names_what_is_damaged_and_prints_the_rest(some, file):
    (some.directory / "topics/logs" / file).write_bytes(b"nothing")
    out = some.ok("top", "--once", *FAST).decode()
    assert re.search(rf"^logs +.*-  .*topics/logs/{file}", out, re.M)
    assert re.search(r"^orders +2 +30 ", out, re.M)


def test_the_object_has_the_names_that_the_manual_promises(some):
    document = json.loads(some.ok("top", "--once", "--json", *FAST))
    text = " ".join(TOP.description)
    names = {*document, *document["topics"][0], *document["groups"][0], "address", "role", "seen_ms"}
    assert names <= set(re.findall(r"\w+", text))
    assert set(re.findall(r"[a-z]+_\w+", text)) <= names


def test_once_can_be_narrowed(some):
    document = json.loads(some.ok("top", "--once", "--json", *FAST, "-r", "^o"))
    assert [topic["topic"] for topic in document["topics"]] == ["orders"]
    assert document["groups"] == []
    assert some("top", "-r", "(", "--once").status == 2


def test_copies_show_how_far_they_are_behind(some, tmp_path):
    copy = tmp_path / "copy"
    some.ok("replicate", some.directory, copy)
    some.ok("produce", "logs", "one", "more")
    (replica,) = json.loads(some.ok("top", "--once", "--json", *FAST))["replicas"]
    assert (replica["role"], replica["lag"], replica["partition_count"]) == ("follower", 2, 4)
    there = json.loads(some.ok("top", "--once", "--json", *FAST, "-d", copy))
    assert [(one["role"], one["lag"]) for one in there["replicas"]] == [("leader", 0)]
    # The group of the leader is known there, with its offsets.
    (group,) = there["groups"]
    assert (group["group"], group["lag"], group["offsets"][0]["is_replicated"]) == ("billing", 20, True)
    with on_terminal(some, *FAST) as terminal:
        terminal.until("REPLICA")
        terminal.type("\t\t\r")
        terminal.until(lambda terminal: re.search(r"logs +0 +7 +2 ", terminal.text))


# Another host.


def test_of_another_host_it_shows_the_same(some, tmp_path):
    here = json.loads(some.ok("top", "--once", "--json", *FAST))
    env = fake_ssh(tmp_path)
    there = json.loads(some.ok("top", "--once", "--json", *FAST, "-d", f"far:{some.directory}", env=env))
    for document in (here, there):
        for volatile in ("directory", "elapsed_ms", "time_ms"):
            del document[volatile]
    assert here == there
    with on_terminal(some, *FAST, "-d", f"far:{some.directory}", **env) as terminal:
        terminal.until("rates over")
        some.ok("produce", "logs", "one", "more")
        terminal.until(lambda terminal: lines_of(terminal, "logs")[0].split()[2] == "9")
        terminal.type("q")
        assert terminal.end() == 0


def test_a_far_side_that_is_lost_ends_it_with_the_terminal_as_it_was(some, tmp_path):
    pid = tmp_path / "pid"
    env = fake_ssh(tmp_path, body=f'echo $$ > {pid}\nexec sh -c "exec $*"')
    with on_terminal(some, *FAST, "-d", f"far:{some.directory}", **env) as terminal:
        terminal.until("rates over")
        os.kill(int(pid.read_text()), signal.SIGKILL)
        assert terminal.end() == 69
        assert terminal.attributes == terminal.before
        assert b"mk: error" in terminal.raw.partition(GIVEN_BACK)[2]


@pytest.mark.every_case
@pytest.mark.parametrize(("key", "status"), [("q", 0), ("\x03", 130)])
def test_a_far_side_that_does_not_answer_keeps_nobody_from_quitting(some, tmp_path, key, status):
    pid = tmp_path / "pid"
    env = fake_ssh(tmp_path, body=f'echo $$ > {pid}\nexec sh -c "exec $*"')
    with on_terminal(some, *FAST, "-d", f"far:{some.directory}", **env) as terminal:
        terminal.until("rates over")
        os.kill(int(pid.read_text()), signal.SIGSTOP)
        try:
            terminal.until("no answer for")
            terminal.type(key)
            assert terminal.end() == status
            assert terminal.attributes == terminal.before
        finally:
            os.kill(int(pid.read_text()), signal.SIGKILL)


# What is drawn with.


class Stream:
    def __init__(self, encoding):
        self.encoding = encoding


@pytest.mark.parametrize(
    ("encoding", "environ", "drawn"),
    [
        ("utf-8", {"LANG": "de_DE.UTF-8"}, BLOCKS),
        ("utf-8", {"LC_ALL": "C.utf8"}, BLOCKS),
        ("utf-8", {"LC_ALL": "C", "LANG": "de_DE.UTF-8"}, ASCII),
        ("utf-8", {}, ASCII),
        ("iso8859-1", {"LANG": "de_DE.UTF-8"}, ASCII),
        ("ascii", {"LC_CTYPE": "de_DE.UTF-8"}, ASCII),
    ],
)
def test_letters_are_those_that_the_terminal_has(encoding, environ, drawn):
    assert letters(Stream(encoding), environ) is drawn
