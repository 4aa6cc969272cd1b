"""Pipelines of mk-recipes(7): what they do, and what they do when they are killed and run again."""

import gzip
import os
import re
import signal
import subprocess

from recipe_blocks import needs, place, recipe, wait_until  # noqa: F401  a fixture


def kill_midway(place, script, is_midway):  # noqa: F811
    """Run a script in a process group of its own, and kill all of it as soon as something is there."""
    process = subprocess.Popen(
        ["sh", "-c", place.paste(script)],
        env=place.environment(),
        cwd=place.work,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        wait_until(is_midway)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def committed(place, group):  # noqa: F811
    rows = [line.split(",") for line in place.shell(f"mk groups export {group}").stdout.splitlines() if line[0] != "#"]
    return {(topic, int(partition)): int(offset) for _, topic, partition, offset in rows}


def test_a_file_is_imported_once(place):  # noqa: F811
    (block,) = recipe("A file is imported once")
    lines = [f"order {number}" for number in range(200_000)]
    (place.work / "orders-2026-11.csv").write_text("".join(f"{line}\n" for line in lines))
    log = place.mk / "topics/orders/0/00000000000000000000.log"
    kill_midway(place, block, lambda: log.exists() and log.stat().st_size)
    for _ in range(2):
        done = place.shell(block)
    assert "200000 records were stored before" in done.stderr
    assert place.values("orders") == lines


def test_many_files_are_imported_at_once(place):  # noqa: F811
    (block,) = recipe("Many files are imported at once")
    lines = {}
    for number in range(12):
        name = f"archive/host {number % 3}/{number}.log.gz"
        (place.work / name).parent.mkdir(parents=True, exist_ok=True)
        lines[name] = [f"{number} line {line}" for line in range(3_000)]
        (place.work / name).write_bytes(gzip.compress("".join(f"{line}\n" for line in lines[name]).encode()))
    log = place.mk / "topics/archive/0/00000000000000000000.log"
    kill_midway(place, block, lambda: log.exists() and log.stat().st_size)
    place.shell(block)
    place.shell(block)
    values = place.values("archive")
    for name, expected in lines.items():
        number = expected[0].split()[0]
        assert [value for value in values if value.split()[0] == number] == expected, name


def test_work_for_xargs_comes_again_when_it_is_killed_or_fails(place):  # noqa: F811
    (block,) = recipe("Work for xargs")
    names = [f"image {number}.png" for number in range(250)]
    place.shell("printf '%s\\n' " + " ".join(f"'{name}'" for name in names) + " | mk produce images -q")
    done = place.work / "done"
    # One fails at first: the hundred come again, and what is done is done.
    place.program(
        "thumb",
        f'#!/bin/sh\nset -e\n[ "$1" != "image 120.png" ] || [ -e {place.work}/failed ] || ! touch {place.work}/failed\n'
        f'sleep 0.01\necho "$1" >> {done}\n',
    )
    kill_midway(place, block, done.exists)
    assert not any(committed(place, "thumbs").values())
    place.shell(block)
    assert sorted(set(done.read_text().splitlines())) == sorted(names)
    assert committed(place, "thumbs") == {("images", 0): 250}


def test_a_topic_among_the_sources_of_make(place):  # noqa: F811
    needs("make")
    (block,) = recipe("A topic among the sources of make")
    (place.work / "Makefile").write_text(block)
    report = place.work / "report.txt"
    place.shell("printf 'ann\\nbob\\nann\\n' | mk produce orders -q; make -s")
    assert report.read_text().split() == ["2", "ann", "1", "bob"]
    made = report.stat().st_mtime_ns
    place.shell("make -s")
    assert report.stat().st_mtime_ns == made, "there was nothing new"
    place.shell("mk produce orders -q bob")
    # Killed behind the stamp, before the report: the next run makes it.
    place.shell("make -s orders.cursor; make -s")
    assert report.read_text().split() == ["2", "ann", "2", "bob"]


def test_a_queue_of_jobs_and_its_dead_letters_tried_again(place):  # noqa: F811
    (block,) = recipe("A queue of jobs")
    place.program(
        "work", '#!/bin/sh\nread -r job; [ -e mended ] || case $job in *bad*) exit 1;; esac; echo "$MK_REC_KEY $job"\n'
    )
    place.shell("mk produce jobs -q -k customer7 'a bad one' 'another bad one'; mk produce jobs -q -k customer8 good")
    assert sorted(place.shell(block).stdout.splitlines()) == ['customer42 {"invoice": 17}', "customer8 good"]
    look, again = recipe("Dead letters are tried again")[0].splitlines()
    shown = place.shell(look).stdout.splitlines()
    assert len(shown) == 2
    assert all(re.match(r"customer7 mk\.source\.topic=jobs .*mk\.source\.offset=\d ", line) for line in shown)
    place.shell("touch mended")
    place.shell(again)
    place.shell(again)
    put_back = place.shell("mk consume jobs -o 4 -f '%k %v %H\\n'").stdout.splitlines()
    assert [line.rsplit(" ", 1)[0] for line in put_back] == ["customer7 a bad one", "customer7 another bad one"]
    assert committed(place, "again") == {("jobs-dead", 0): 2}
    assert place.shell(block.splitlines()[1]).stdout.splitlines() == [
        "customer7 a bad one",
        "customer7 another bad one",
    ]


def test_dead_letters_that_cannot_be_put_back_stay(place):  # noqa: F811
    again = recipe("Dead letters are tried again")[0].splitlines()[1]
    place.shell("mk produce jobs-dead -q -k a lost; mk topics create jobs -q; mk topics seal jobs -q")
    done = place.shell(again + " --retries 0", check=False)
    assert done.returncode == 1 and "sealed" in done.stderr
    place.shell("mk topics seal jobs -q --undo")
    place.shell(again)
    assert place.values("jobs") == ["lost"]


def test_several_readers_of_everything(place):  # noqa: F811
    (block,) = recipe("Several readers of everything")
    for name in ("bill", "notify"):
        place.program(name, f"#!/bin/sh\nexec cat >> {place.work}/{name}ed\n")
    place.shell("seq 5 | mk produce orders -q")
    shown = place.shell(block).stdout
    for name in ("bill", "notify"):
        assert (place.work / f"{name}ed").read_text() == "12345"
    assert re.findall(r"group +(\w+)", shown) == ["billing", "mail"] and re.findall(r"lag +(\d+)", shown) == ["0", "0"]
    place.shell("mk groups reset late orders --to end --yes -q; mk produce orders -q 6")
    assert place.values("orders", "-g late") == ["6"]


def test_yesterday_once_more(place):  # noqa: F811
    once, reset = recipe("Yesterday once more")
    place.shell("mk topics create orders -p 3 -q")
    for when, values in (("yesterday", "{0}1 {0}2"), ("now", "{0}3")):
        for key in "abcdef":
            place.shell(f"mk produce orders -q -k {key} --timestamp {when} {values.format(key)}")
    log = place.mk / "topics/orders-replay/0/00000000000000000000.log"
    kill_midway(place, once, log.exists)
    place.shell(once)
    place.shell(once)
    replayed = [tuple(line.split()) for line in place.values("orders-replay", r"-f '%k %v %T\n'")]
    original = [tuple(line.split()) for line in place.values("orders", r"-f '%k %v %T\n'")]
    for key in "abcdef":
        of_key = [one for one in replayed if one[0] == key]
        assert of_key == [one for one in original if one[0] == key][:2] and len(of_key) == 2
    place.values("orders", "-g billing")
    place.shell(reset)
    assert len(place.values("orders", "-g billing")) == 18
