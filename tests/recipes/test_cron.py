"""The lines for cron of mk-recipes(7), as cron runs them: its environment, its shell, its percent signs, and its mail."""

import re
import shutil
import subprocess

import pytest
from recipe_blocks import TIMEOUT, place, recipe  # noqa: F401  a fixture

from tests.docs.mdoc_page import MAN


class Table:
    """A crontab. is_system: its lines name a user."""

    def __init__(self, place, block, *, is_system=False):  # noqa: F811
        self.place = place
        lines = [line for line in place.paste(block).splitlines() if line and not line.startswith("#")]
        self.settings = dict(line.split("=", 1) for line in lines if re.match(r"\w+=", line))
        pattern = r"(?:[\d*/,-]+\s+){5}" + (r"\w+\s+" if is_system else "") + "(.*)"
        self.commands = [re.fullmatch(pattern, line)[1] for line in lines if not re.match(r"\w+=", line)]

    def start(self, text):
        """Run the one command that has this text, as cron does; what it prints is what is mailed."""
        (command,) = [one for one in self.commands if text in one]
        command, *given = re.split(r"(?<!\\)%", command)
        assert not given, "an unescaped percent sign ends the command"
        environment = {"SHELL": "/bin/sh", "PATH": "/usr/bin:/bin", "LOGNAME": "mk", "HOME": str(self.place.top)}
        return subprocess.Popen(
            ["/bin/sh", "-c", command.replace("\\%", "%")],
            env=environment | self.settings,
            cwd=self.place.top,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, text):
        job = self.start(text)
        mail, _ = job.communicate(timeout=TIMEOUT)
        return job.returncode, mail


@pytest.fixture
def table(place):  # noqa: F811
    place.program("ring", f"#!/bin/sh\ncat >> {place.work}/rung\n")
    place.shell("seq 5 | mk produce orders -q")
    return Table(place, recipe("A crontab")[0])


def damage(here):
    (log,) = (here.mk / "topics/orders/0").glob("*.log")
    log.write_bytes(log.read_bytes()[:-1] + b"!")


def test_nothing_is_mailed_when_nothing_is_wrong(table):
    assert len(table.commands) == 6 and table.settings["MAILTO"]
    for command in sorted(table.commands, key=lambda one: "--verify" in one):
        assert table.run(command) == (0, ""), command
    assert table.place.values("orders", directory=table.place.top / "backup/srv/mk") == list("12345")
    assert (table.place.work / "rung").read_text() == "12345"


def test_what_is_wrong_is_mailed(table):
    table.place.shell("mk consume orders -g slow -n 1")
    table.place.shell("seq 2000 | mk produce orders -q")
    status, mail = table.run("check")
    assert status == 1 and mail.startswith("MK WARNING - ") and "slow" in mail
    assert table.run("mk replicate -q " + str(table.place.mk)) == (0, "")
    damage(table.place)
    status, mail = table.run("topics verify")
    assert status == 65 and "orders" in mail
    status, mail = table.run("--verify")
    assert status == 65 and "orders" in mail
    # Without the records, another host would be sent nothing, and says so.
    (table.place.bin / "ssh").write_text("#!/bin/sh\necho no route to host >&2\nexit 255\n")
    status, mail = table.run("--verify")
    assert status == 69 and "no route to host" in mail


def test_runs_that_overlap_do_no_harm(table):
    table.place.program("ring", f"#!/bin/sh\nsleep 0.3; cat >> {table.place.work}/rung\n")
    for command in ("mk replicate -q " + str(table.place.mk), "topics clean", "ring"):
        jobs = [table.start(command) for _ in range(4)]
        assert [(job.communicate(timeout=TIMEOUT)[0], job.returncode) for job in jobs] == [("", 0)] * 4, command
    assert table.place.values("orders", directory=table.place.top / "backup/srv/mk") == list("12345")
    assert sorted((table.place.work / "rung").read_text()) == list("12345")


def test_crontab_takes_it(table):
    help_text = shutil.which("crontab") and subprocess.run(
        ["crontab", "-h"], capture_output=True, text=True, check=False
    )
    if not help_text or "-n (dry run" not in (help_text.stdout + help_text.stderr).replace("\t", " "):
        pytest.skip("there is no crontab that checks a file")
    file = table.place.work / "crontab"
    file.write_text(recipe("A crontab")[0])
    done = subprocess.run(["crontab", "-n", file], capture_output=True, text=True, check=False, timeout=TIMEOUT)
    assert done.returncode == 0, done.stderr


def test_metrics_for_node_exporter_are_replaced_at_once(place):  # noqa: F811
    table = Table(place, recipe("Metrics for node_exporter")[0], is_system=True)
    place.shell("seq 5 | mk produce orders -q")
    assert table.run("--prometheus") == (0, "")
    (metrics,) = (place.top / "var/lib/node_exporter").iterdir()
    assert metrics.name == "mk.prom" and "mk_up" in metrics.read_text()
    metrics.write_text("old")
    jobs = [table.start("--prometheus") for _ in range(4)]
    for job in jobs[:2]:
        job.kill()
    assert [job.communicate(timeout=TIMEOUT)[0] for job in jobs] == [""] * 4
    assert "mk_up" in metrics.read_text() and metrics.read_text().endswith("\n")
    assert [path.name for path in metrics.parent.iterdir() if path.suffix == ".prom"] == ["mk.prom"]


def test_no_line_for_cron_of_any_page_has_a_percent_sign_that_cron_would_take():
    for path in MAN.iterdir():
        for line in re.findall(r"^\S*(?:[\d*/,]+ +){4}[\d*]+ +.*mk .*$", path.read_text(), flags=re.MULTILINE):
            assert not re.search(r"(?<!\\e)%", line), line
