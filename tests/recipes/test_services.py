"""The units of mk-recipes(7): that systemd takes them, and that their commands run as they say, confined as they say.

They are not started by systemd: their commands are, in a namespace where all is read-only that the unit has so, as another user.
"""

import contextlib
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from recipe_blocks import TIMEOUT, Place, Unit, files, needs, recipe, stop, wait_until

COMMON = "/etc/systemd/system/mk-.service.d/common.conf"
UNITS = files(
    (
        "What all services share",
        "A log is shipped as it grows",
        "A worker for each record",
        "Old records go by the clock",
        "A copy on another host",
    )
)
NOBODY = 65534


@pytest.fixture
def place():
    """A place that other users can get to."""
    with tempfile.TemporaryDirectory(prefix="mk-recipes-", dir="/var/tmp") as top:
        os.chmod(top, 0o755)
        here = Place(Path(top))
        yield here
        here.close()


class Confined:
    """Starts the command of a unit with what its [Service] says of the file system, the user and the environment."""

    def __init__(self, place):
        self.place = place
        self.common = Unit(place.paste(UNITS[COMMON]))["Service"]
        self.prefix, self.user = [], os.geteuid()
        if os.geteuid() == 0:
            self._confine()

    def _confine(self):
        assert self.common["ProtectSystem"] == "strict" and self.common["NoNewPrivileges"] == "yes"
        writable = [Path(one) for one in self.common["ReadWritePaths"].split()]
        writable.append(self.place.top / "var/lib" / self.common["StateDirectory"])
        # What the test itself has the stand-ins write to.
        writable += [self.place.work, self.place.top / "backup"]
        for directory in writable:
            directory.mkdir(parents=True, exist_ok=True)
        binds = "".join(f"mount --bind {one} {one} && " for one in map(shlex.quote, map(str, writable)))
        script = f"mount --make-rprivate / && {binds}mount -o remount,bind,ro / && exec setpriv --no-new-privs"
        # Where Python is root's alone, as root without what makes it more than a user.
        for self.user, words in (
            (NOBODY, f"--reuid={NOBODY} --regid={NOBODY} --clear-groups"),
            (0, "--bounding-set=-all --inh-caps=-all"),
        ):
            prefix = ["unshare", "--mount", "sh", "-c", f'{script} {words} -- "$@"', "sh"]
            seen = subprocess.run([*prefix, self.place.bin / "mk", "--version"], capture_output=True, check=False)
            if seen.returncode == 0:
                break
        else:
            pytest.skip(f"nobody can run mk in a namespace here: {seen.stderr.decode(errors='replace')}")
        for directory in writable:
            subprocess.run(["chown", "-R", str(self.user), directory], check=True)
        refused = subprocess.run([*prefix, "touch", self.place.top / "here"], capture_output=True, check=False)
        assert b"Read-only file system" in refused.stderr
        self.prefix = prefix

    def start(self, name, **environment):
        unit = Unit(self.place.paste(UNITS[f"/etc/systemd/system/{name}.service"]))
        names = dict([self.common["Environment"].split("=", 1)])
        # As a service has them: no more than that.
        names["PATH"] = f"{self.place.bin}:/usr/local/bin:/usr/bin:/bin"
        names["HOME"] = str(self.place.top / "var/lib/mk")
        words = unit.command()
        assert words[0] == str(self.place.bin / "mk")
        return self.place.start([*self.prefix, *words], env={**names, **environment}, start_new_session=True)


@pytest.fixture
def confined(place):
    return Confined(place)


def test_systemd_takes_the_units_without_a_word(place):
    needs("systemd-analyze")
    units = place.top / "etc/systemd/system"
    place.program("work", "#!/bin/sh\n")
    for path, text in UNITS.items():
        (units / Path(path).relative_to("/etc/systemd/system")).parent.mkdir(parents=True, exist_ok=True)
        (units / Path(path).relative_to("/etc/systemd/system")).write_text(
            place.paste(text).replace("User=mk", "User=root")
        )
    names = [name for name in sorted(os.listdir(units)) if not name.endswith(".d")]
    assert len(names) == 7
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *names],
        env={"PATH": os.environ["PATH"], "SYSTEMD_UNIT_PATH": f"{units}:", "SYSTEMD_LOG_LEVEL": "info"},
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
    )
    about_ours = [line for line in (done.stdout + done.stderr).splitlines() if "mk-" in line]
    assert done.returncode == 0 and about_ours == [], done.stderr


def test_each_unit_is_one_that_the_shared_lines_hold_for():
    for path in UNITS:
        assert path == COMMON or re.fullmatch(r"/etc/systemd/system/mk-\w+\.(service|timer)", path)
        if path.endswith(".timer"):
            assert path.replace(".timer", ".service") in UNITS


def test_the_user_is_made(place):
    needs("useradd", "install")
    useradd, install = recipe("What all services share")[1].splitlines()
    (place.top / "etc").mkdir()
    for name in ("passwd", "group", "shadow", "gshadow", "login.defs"):
        if os.path.exists(f"/etc/{name}") and os.geteuid() == 0:
            shutil.copy(f"/etc/{name}", place.top / "etc")
    if os.geteuid() != 0:
        pytest.skip("makes a user, in files of the test's own")
    made = subprocess.run([*shlex.split(useradd), "--prefix", place.top], capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr
    assert re.search(
        r"^mk:.*:/var/lib/mk:/usr/sbin/nologin$", (place.top / "etc/passwd").read_text(), flags=re.MULTILINE
    )
    place.shell(install.replace("-o mk -g mk", f"-o {NOBODY} -g {NOBODY}"))
    assert place.mk.stat().st_uid == NOBODY and place.mk.stat().st_mode & 0o777 == 0o755


def test_what_ships_a_log_is_stopped_killed_and_started_again(place, confined):
    log = place.top / "var/log/app/app.log"
    lines = [f"line {number}" for number in range(90)]
    ends = []
    for round_, number in enumerate((signal.SIGTERM, signal.SIGKILL, signal.SIGTERM)):
        with log.open("a") as file:
            file.write("".join(f"{line}\n" for line in lines[30 * round_ : 30 * round_ + 30]))
        process = confined.start("mk-ship")
        wait_until(lambda: (place.mk / "mk.json").exists() and place.shell("mk topics -q").stdout)
        wait_until(lambda: len(place.values("app")) == 30 * (round_ + 1))  # noqa: B023
        ends.append(stop(process, number))
    assert ends == [143, 137, 143]
    assert place.values("app") == lines


def test_a_worker_that_is_stopped_has_its_record_done_and_committed(place, confined):
    done = place.work / "done"
    place.program(
        "work", f'#!/bin/sh\nread -r job\necho "$job" >> {place.work}/begun\nsleep 0.5\necho "$job" >> {done}\n'
    )
    process = confined.start("mk-work")
    assert process.wait(TIMEOUT) == 66, "there is no topic yet"
    common = Unit(place.paste(UNITS["/etc/systemd/system/mk-work.service"]))["Service"]
    assert "66" not in common["RestartPreventExitStatus"].split()
    as_user = [*confined.prefix, place.bin / "mk", "produce", "jobs", "-q", "-d", place.mk]
    subprocess.run([*as_user, *map(str, range(8))], check=True)
    process = confined.start("mk-work")
    wait_until((place.work / "begun").exists)
    # KillMode=mixed: to the command of the unit, and to none of its children.
    assert stop(process) == 143
    assert done.exists() and sorted(done.read_text()) == sorted((place.work / "begun").read_text())
    process = confined.start("mk-work")
    wait_until(lambda: len(done.read_text().splitlines()) == 8)
    assert stop(process) == 143
    assert sorted(done.read_text().split()) == list("01234567")


def test_a_worker_that_is_killed_has_its_records_handed_out_again(place, confined):
    done = place.work / "done"
    place.program(
        "work", f'#!/bin/sh\nread -r job\necho "$MK_REC_ID" >> {place.work}/begun\nsleep 0.2\necho "$job" >> {done}\n'
    )
    as_user = [*confined.prefix, place.bin / "mk", "produce", "jobs", "-q", "-d", place.mk]
    subprocess.run([*as_user, *map(str, range(8))], check=True)
    process = confined.start("mk-work")
    wait_until((place.work / "begun").exists)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    process = confined.start("mk-work")
    wait_until(lambda: done.exists() and set(done.read_text().split()) == set("01234567"))
    assert stop(process) == 143
    assert len(set((place.work / "begun").read_text().split())) == 8, "the same record has the same id"
    assert int(place.shell("mk groups export work").stdout.splitlines()[-1].rsplit(",", 1)[1]) == 8


def test_old_records_go_by_the_clock(place, confined):
    as_user = [*confined.prefix, place.bin / "mk", "-d", place.mk]
    subprocess.run(
        [*as_user, "topics", "create", "app", "-q", "-c", "segment.bytes=4k", "-c", "retention.ms=1d"], check=True
    )
    old = "x" * 3000
    subprocess.run([*as_user, "produce", "app", "-q", "--timestamp", "-2d", old], check=True)
    subprocess.run([*as_user, "produce", "app", "-q", "--timestamp", "-2d", old], check=True)
    subprocess.run([*as_user, "produce", "app", "-q", old.upper()], check=True)
    for _ in range(2):
        process = confined.start("mk-clean")
        out, err = process.communicate(timeout=TIMEOUT)
        assert (process.returncode, out, err) == (0, "", "")
    assert place.values("app") == [old.upper()]


@pytest.mark.parametrize("name", ["mk-copy", "mk-mirror"])
def test_a_copy_on_another_host(place, confined, name):
    as_user = [*confined.prefix, place.bin / "mk", "-d", place.mk]
    there = place.top / "backup/srv/mk"
    there.parent.mkdir(parents=True, exist_ok=True)
    if confined.prefix:
        os.chown(there.parent, confined.user, -1)
    subprocess.run([*as_user, "produce", "orders", "-q", "1", "2"], check=True)
    process = confined.start(name)
    if name == "mk-copy":
        assert process.communicate(timeout=TIMEOUT) == ("", "") and process.returncode == 0
    else:
        wait_until(lambda: (there / "topics/orders").exists() and place.values("orders", directory=there) == ["1", "2"])
        subprocess.run([*as_user, "produce", "orders", "-q", "3"], check=True)
        wait_until(lambda: place.values("orders", directory=there) == ["1", "2", "3"])
        assert stop(process, signal.SIGKILL) == 137
        process = confined.start(name)
        subprocess.run([*as_user, "produce", "orders", "-q", "4"], check=True)
        wait_until(lambda: place.values("orders", directory=there) == ["1", "2", "3", "4"])
        assert stop(process) == 143
    assert place.values("orders", directory=there) == place.values("orders")
    (place.bin / "ssh").write_text("#!/bin/sh\nexit 255\n")
    process = confined.start(name)
    process.communicate(timeout=TIMEOUT)
    assert process.returncode == 69, "systemd starts it again"


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="mounts over /proc/sys, in a namespace")
def test_where_the_boot_id_is_hidden_mk_says_so(place):
    place.shell("mk produce orders -q 1")
    hidden = [
        "unshare",
        "--mount",
        "sh",
        "-c",
        'mount --make-rprivate / && mount -t tmpfs none /proc/sys || exit 99; exec "$@"',
        "sh",
    ]
    for words in (
        ["produce", "orders", "2"],
        ["consume", "orders"],
        ["consume", "orders", "-g", "g"],
        ["topics", "trim", "orders", "--to", "1", "--yes"],
    ):
        command = [*hidden, place.bin / "mk", *words, "-q", "-d", place.mk]
        done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=TIMEOUT)
        if done.returncode in (1, 99):
            pytest.skip(done.stderr)
        assert done.returncode == 78 and "the kernel's boot id cannot be read" in done.stderr, done.stderr
    assert place.values("orders") == ["1"]


def allowed_calls(name):
    """Return the system calls of a set of systemd's, @name."""
    done = subprocess.run(["systemd-analyze", "syscall-filter"], capture_output=True, text=True, timeout=TIMEOUT)
    sets = {}
    for line in re.sub(r"\x1b\[[\d;]*m", "", done.stdout).splitlines():
        if line.startswith("@"):
            of_set = sets.setdefault(line.strip(), [])
        elif line.startswith("    ") and not line.strip().startswith("#"):
            of_set.append(line.strip())
    found, left = set(), [name]
    while left:
        one = left.pop()
        left += sets.get(one, ())
        found.add(one)
    return found


@pytest.mark.slow
def test_the_filter_of_system_calls_lets_through_all_that_mk_does(place):
    needs("strace", "systemd-analyze")
    allowed = allowed_calls(Unit(UNITS[COMMON])["Service"]["SystemCallFilter"])
    (place.work / "app.log").write_text("a\nb\n")
    (place.work / "copied").mkdir()
    mk = str(Path(sys.executable).with_name("mk"))
    used = set()
    for words in (
        "produce app -z zstd --follow app.log --producer-id app-1 -n 2",
        "produce app -K : --file app.log",
        "topics create prices -c cleanup.policy=compact",
        "produce prices -k a 1",
        "consume app -g work --exec cat --jobs 4 --dlq dead",
        "consume app -F --idle 1s",
        "topics compact",
        "topics clean",
        "topics verify",
        "topics snapshot copied/now",
        "replicate {mk} copied/replica",
        "check",
    ):
        trace = place.work / "trace"
        command = ["strace", "-f", "-qq", "-o", trace, mk, *words.format(mk=place.mk).split()]
        with contextlib.suppress(subprocess.TimeoutExpired):
            subprocess.run(
                command, env=place.environment(), cwd=place.work, stdin=subprocess.DEVNULL, timeout=TIMEOUT, check=True
            )
        used |= set(re.findall(r"^\d+ +(\w+)\(", trace.read_text(), flags=re.MULTILINE))
    assert {"flock", "fdatasync", "execve"} < used
    assert used - allowed == set()
    assert not re.search(r"PROT_WRITE\|PROT_EXEC", trace.read_text()), "MemoryDenyWriteExecute"
