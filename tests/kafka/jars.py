"""The jars of Apache Kafka, fetched by Maven once into the user's cache, and the Java that runs them."""

from __future__ import annotations

import fcntl
import functools
import os
import re
import shutil
import subprocess
import zlib
from pathlib import Path

POM = Path(__file__).parent / "pom.xml"
OLDEST_JAVA = 17
_FETCH_SECONDS = 600


class Unavailable(Exception):
    """There can be no Kafka here; says what is missing."""


@functools.cache
def java() -> str:
    """Return the path of a Java that runs Kafka: that of JAVA_HOME, or else of PATH. Raises Unavailable."""
    home = os.environ.get("JAVA_HOME")
    path = shutil.which("java", path=f"{home}/bin") if home else shutil.which("java")
    if path is None:
        raise Unavailable(f"there is no Java{' in JAVA_HOME' if home else ''}")
    done = subprocess.run([path, "-version"], capture_output=True, text=True, check=False, timeout=60)
    found = re.search(r'version "(\d+)', done.stderr)
    if done.returncode or found is None or int(found[1]) < OLDEST_JAVA:
        said = " ".join((done.stderr or done.stdout).split())[:100]
        raise Unavailable(f"Kafka needs Java {OLDEST_JAVA} or newer, {path} is: {said}")
    return path


@functools.cache
def jars() -> Path:
    """Return the directory of the jars; the first time Maven fetches them there, in about 20 seconds. Raises Unavailable.

    Its name has the checksum of the pom, so that other versions get a directory of their own.
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mk-kafka"
    wanted = cache / f"jars-{zlib.crc32(POM.read_bytes()):08x}"
    if wanted.is_dir():
        return wanted
    maven = shutil.which("mvn")
    if maven is None:
        raise Unavailable(f"there is no Maven, and no jars of Kafka are in {wanted}")
    cache.mkdir(parents=True, exist_ok=True)
    with open(cache / "lock", "wb") as lock:
        # All workers of a test run come here at once.
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not wanted.is_dir():
            _fetch(maven, wanted)
    return wanted


def _fetch(maven: str, wanted: Path) -> None:
    partial = wanted.with_name(f"{wanted.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    words = ["-q", "-B", "-f", str(POM), "dependency:copy-dependencies", "-DincludeScope=runtime"]
    try:
        done = subprocess.run(
            [maven, *words, f"-DoutputDirectory={partial}"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=_FETCH_SECONDS,
        )
    except subprocess.TimeoutExpired:
        raise Unavailable(f"Maven did not get Kafka's jars in {_FETCH_SECONDS} seconds") from None
    if done.returncode or not any(partial.glob("kafka_*.jar")):
        raise Unavailable(f"Maven does not get Kafka's jars: {(done.stdout + done.stderr).strip()[-300:]}")
    partial.rename(wanted)
