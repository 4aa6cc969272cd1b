"""What is installed: the wheel holds mk and its pages and nothing else, comes out the same from the sdist, and works."""

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from importlib.util import find_spec
from pathlib import Path

import pytest

import mk

ROOT = Path(__file__).parents[2]
FIRST_LINE = (ROOT / "README.md").read_text().partition("```sh\n")[2].partition("\n```")[0]
COMPLETIONS = {
    "mk.bash": "bash-completion/completions/mk",
    "_mk": "zsh/site-functions/_mk",
    "mk.fish": "fish/vendor_completions.d/mk.fish",
}


def build(source, destination, *targets):
    if find_spec("hatchling") is None:
        pytest.skip("hatchling is not installed, and building it an environment of its own takes a network")
    words = [word for target in targets for word in ("-t", target)]
    command = [sys.executable, "-m", "hatchling", "build", *words, "-d", destination]
    done = subprocess.run(command, cwd=source, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return destination


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The directory with the sdist and the wheel of this tree."""
    return build(ROOT, tmp_path_factory.mktemp("dist"), "sdist", "wheel")


def wheel_of(directory):
    (path,) = directory.glob("*.whl")
    return path


def contents(path):
    with zipfile.ZipFile(path) as wheel:
        return {name: wheel.read(name) for name in wheel.namelist()}


def expected_files():
    """Return what the wheel is to hold, name and content, but for its dist-info."""
    modules = {path.relative_to(ROOT).as_posix(): path.read_bytes() for path in (ROOT / "mk").rglob("*.py")}
    pages = {f"share/man/man{path.suffix[1:]}/{path.name}": path.read_bytes() for path in (ROOT / "man").iterdir()}
    shells = {f"share/{place}": (ROOT / "completions" / name).read_bytes() for name, place in COMPLETIONS.items()}
    data = f"mk_log-{mk.__version__}.data"
    return {
        **modules,
        "mk/py.typed": b"",
        **{f"{data}/data/{name}": content for name, content in (pages | shells).items()},
        f"{data}/scripts/mk": (ROOT / "mk/cli/mk").read_bytes(),
    }


def test_the_wheel_holds_the_modules_the_pages_the_completions_and_nothing_else(built):
    found = contents(wheel_of(built))
    info = f"mk_log-{mk.__version__}.dist-info"
    beside = {f"{info}/{name}" for name in ("METADATA", "WHEEL", "RECORD", "licenses/LICENSE")}
    expected = expected_files()
    assert set(found) == set(expected) | beside
    assert {name: content for name, content in found.items() if name in expected} == expected
    assert f"\nVersion: {mk.__version__}\n" in found[f"{info}/METADATA"].decode()


def test_the_sdist_builds_the_same_wheel(built, tmp_path):
    (path,) = built.glob("*.tar.gz")
    with tarfile.open(path) as sdist:
        sdist.extractall(tmp_path, **({"filter": "data"} if hasattr(tarfile, "data_filter") else {}))
    (tree,) = tmp_path.iterdir()
    assert contents(wheel_of(build(tree, tmp_path / "again", "wheel"))) == contents(wheel_of(built))
    # Whoever packages it runs the tests from there.
    assert (tree / "tests/packaging/test_wheel.py").exists() and (tree / "LICENSE").exists()


@pytest.fixture(scope="module")
def installed(built, tmp_path_factory):
    """The bin directory of an environment with the wheel; what it depends on is that of this one, so no network is needed."""
    venv = tmp_path_factory.mktemp("installed") / "venv"
    subprocess.run([sys.executable, "-m", "venv", venv], check=True, timeout=120)
    words = ["-m", "pip", "install", "-q", "--disable-pip-version-check", "--no-index", "--no-deps", wheel_of(built)]
    subprocess.run([venv / "bin/python", *words], check=True, timeout=120)
    (site,) = venv.glob("lib/python*/site-packages")
    # Behind its own, and what the .pth files there say is not followed: mk itself is the one of the wheel.
    (site / "others.pth").write_text("\n".join(path for path in sys.path if path.endswith("-packages")))
    return venv / "bin"


def run(installed, script, **environment):
    environment = {"PATH": f"{installed}:{os.environ['PATH']}", "HOME": str(installed.parent), **environment}
    # Not in the directory of the tests, where python -c and -m would find the mk of this tree.
    return subprocess.run(
        ["bash", "-c", script], env=environment, cwd=installed.parent, capture_output=True, text=True, timeout=120
    )


def test_the_readmes_first_line_works_with_the_installed_wheel(installed, tmp_path):
    use = FIRST_LINE.partition(' MK_DIR="$PWD/.demo" && ')[2]
    done = run(installed, f'set -e; cd {tmp_path}; export MK_DIR="$PWD/.demo"; {use}')
    assert done.returncode == 0, done.stderr
    assert " etc\n" in done.stdout and ".demo/topics/files/0/00000000000000000000.log\n" in done.stdout
    where = run(installed, "python -c 'import mk; print(mk.__file__)'", PYTHONDONTWRITEBYTECODE="1")
    assert where.stdout.startswith(str(installed.parent))


def test_the_version_is_said_once_and_told_by_all(installed):
    assert run(installed, "mk --version; python -m mk --version").stdout == f"mk {mk.__version__}\n" * 2
    told = run(installed, "python -c \"import importlib.metadata as m; print(m.version('mk-log'))\"")
    assert told.stdout.strip() == mk.__version__


@pytest.mark.skipif(
    shutil.which("manpath") is None, reason="man-db, which looks beside the directories of PATH, is not there"
)
@pytest.mark.parametrize("page", sorted(path.name for path in (ROOT / "man").iterdir()))
def test_man_finds_the_pages_of_an_environment_that_is_in_path(page, installed):
    name, _, section = page.rpartition(".")
    found = run(installed, f"man -w {section} {name}")
    assert found.stdout.strip() == str(installed.parent / "share/man" / f"man{section}" / page), found.stderr


def test_the_installed_completions_are_those_that_it_prints(installed):
    for shell, name in (("bash", "mk.bash"), ("zsh", "_mk"), ("fish", "mk.fish")):
        shown = run(installed, f"mk completion {shell}").stdout
        assert shown == (installed.parent / "share" / COMPLETIONS[name]).read_text()
