"""What may import what: the layers, the doors of third parties, the public names, the size of a module."""

import ast
import functools
import sys
from pathlib import Path

import pytest

import mk

ROOT = Path(__file__).parents[2]
SOURCES = {".".join(path.relative_to(ROOT).with_suffix("").parts): path for path in sorted((ROOT / "mk").rglob("*.py"))}

# A module may import what is on a lower level, and its own package. The longest prefix counts.
LEVELS = {
    "mk.errors": 0,
    "mk.group_errors": 0,
    "mk.clock": 0,
    "mk.topic_partition": 0,
    "mk.config": 0,
    "mk.timestamp": 0,
    "mk.near_names": 0,
    "mk.records": 1,
    "mk.formats": 2,
    "mk.storage": 2,
    "mk.transport": 2,
    "mk.groups": 3,
    "mk.producer": 4,
    "mk.consumer": 4,
    "mk.maintenance": 4,
    "mk.replication": 4,
    "mk.server": 5,
    "mk.remote_cluster": 5,
    "mk.kafka_cluster": 5,
    "mk.directory_care": 5,
    "mk.directory_rehash": 5,
    "mk.directory_cluster": 5,
    "mk.group_plan": 5,
    "mk.cluster": 6,
    "mk.cli": 7,
    "mk.__main__": 8,
    "mk.__init__": 8,
}

# Upward or sideways all the same, with the reason.
ALLOWED = {
    ("mk.group_errors", "mk.errors"),  # A branch of one tree,
    ("mk.errors", "mk.group_errors"),  # which is had as a whole from there.
    ("mk.topic_partition", "mk.errors"),  # What is refused is an error,
    ("mk.config", "mk.errors"),  # here too,
    ("mk.timestamp", "mk.errors"),  # and here.
    ("mk.config", "mk.topic_partition"),  # Names of groups are checked as those of topics are.
    ("mk.cli", "mk"),  # for the version alone,
    ("mk.directory_care", "mk.directory_rehash"),  # Of this class,
    ("mk.directory_care", "mk.group_plan"),  # which plans with what any cluster can do,
    ("mk.kafka_cluster", "mk.group_plan"),  # also this one,
    ("mk.directory_cluster", "mk.directory_care"),  # One class in two modules.
    ("mk.transport", "mk"),  # here
    ("mk.server", "mk"),  # and here too.
}

# Third-party package: the only module, or package of modules, that may import it.
DOORS = {
    "portalocker": "mk.storage.locks",
    "msgpack": "mk.records.codecs",
    "crc32c": "mk.records.codecs",
    "lz4": "mk.records.codecs",
    "backports": "mk.records.codecs",
    "compression": "mk.records.codecs",
    "rich": "mk.cli.console",
    "typer": "mk.cli.typer_app",
    "click": "mk.cli.typer_app",
    "confluent_kafka": "mk.kafka_cluster",
}


def home(module):
    """Return the entry of LEVELS that speaks for a module."""
    found = [name for name in LEVELS if module == name or module.startswith(name + ".")]
    return max(found, key=len) if found else module


def is_type_checking(node):
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


@functools.cache
def parsed(path):
    return ast.parse(path.read_text())


@functools.cache
def imports(path, *, types_too):
    """Return the absolute names that a source file imports, those made by functions included."""

    def visit(nodes):
        for node in nodes:
            if is_type_checking(node) and not types_too:
                yield from visit(node.orelse)
                continue
            if isinstance(node, ast.Import):
                yield from (alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{path}: a relative import"
                for alias in node.names:
                    name = f"{node.module}.{alias.name}"
                    yield name if name in SOURCES else str(node.module)
            yield from visit(ast.iter_child_nodes(node))

    return list(visit(ast.iter_child_nodes(parsed(path))))


@pytest.mark.parametrize("module", SOURCES)
def test_imports_point_downward(module):
    own = home(module.removesuffix(".__init__") if module != "mk.__init__" else module)
    assert own in LEVELS, f"{module} needs a place in LEVELS"
    for imported in imports(SOURCES[module], types_too=False):
        other = home(imported)
        if imported.split(".")[0] != "mk" or other == own or (own, other) in ALLOWED:
            continue
        assert LEVELS[other] < LEVELS[own], f"{module} imports {imported}, which is not below it"


def test_records_know_no_files_no_clock_and_no_locks():
    for module, path in SOURCES.items():
        if module.startswith("mk.records."):
            assert not {"os", "time", "fcntl", "io", "pathlib"} & set(imports(path, types_too=True)), module


def test_commands_never_reach_around_the_cluster_into_files():
    for module, path in SOURCES.items():
        if module.startswith("mk.cli."):
            around = ("mk.storage", "mk.directory_cluster")
            used = {name for name in imports(path, types_too=False) if name.startswith(around)}
            assert not used, f"{module} imports {used}"


@pytest.mark.parametrize("module", SOURCES)
def test_every_third_party_package_has_one_door(module):
    for imported in imports(SOURCES[module], types_too=True):
        package = imported.split(".")[0]
        if package in DOORS:
            assert f"{module}.".startswith(f"{DOORS[package]}."), f"{module} imports {imported}"
        else:
            assert package == "mk" or package in sys.stdlib_module_names, f"{module} imports {imported}"


def test_flock_and_portalocker_are_called_in_one_module():
    for module, path in SOURCES.items():
        if module != "mk.storage.locks":
            assert "flock(" not in path.read_text(), module


def test_everything_in_a_log_directory_is_made_in_one_module():
    """It knows the modes of what a group shares, and how to refuse what was planted."""
    makers = {
        "mkdir",
        "makedirs",
        "mknod",
        "mkfifo",
        "link",
        "symlink",
        "rename",
        "replace",
        "chmod",
        "chown",
        "truncate",
    }
    packages = ("storage", "groups", "producer", "consumer", "maintenance", "replication", "server", "remote_cluster")
    for module, path in SOURCES.items():
        if module.startswith(tuple(f"mk.{name}." for name in packages)):
            for node in ast.walk(parsed(path)):
                if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "os":
                    assert node.attr not in makers or module == "mk.storage.files", f"{module}: os.{node.attr}"


@pytest.mark.parametrize("module", SOURCES)
def test_a_module_can_be_read_in_a_sitting(module):
    # Definitions are data, and so are errors: a class for each way to fail, in one tree.
    limit = 700 if module.startswith("mk.cli.definitions.") or module == "mk.errors" else 600
    assert len(SOURCES[module].read_text().splitlines()) <= limit


@pytest.mark.parametrize("module", SOURCES)
def test_a_module_says_what_it_is_for_and_leaves_nothing_to_do(module):
    text = SOURCES[module].read_text()
    assert not text.strip() or ast.get_docstring(parsed(SOURCES[module]))
    for word in ("TODO", "FIXME", "XXX"):
        assert word not in text


def test_no_module_is_named_for_having_no_noun():
    assert not {"utils", "util", "common", "helpers", "misc"} & {module.split(".")[-1] for module in SOURCES}


def test_the_public_names_are_the_documented_ones():
    assert mk.__all__ == [
        "AppendResult",
        "Cluster",
        "Consumer",
        "ConsumerRecord",
        "GroupConsumer",
        "MkError",
        "OffsetSpec",
        "Producer",
        "__version__",
        "connect",
        "errors",
        "parse_offset_spec",
    ]
    for name in mk.__all__:
        value = getattr(mk, name)
        assert name == "__version__" or value.__doc__, name
    with pytest.raises(AttributeError, match="nothing"):
        mk.nothing  # noqa: B018
