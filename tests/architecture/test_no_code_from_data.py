"""What stands in a log, a record, a name or a peer's frame is never run, imported or taken for a place to write to."""

import ast

import pytest

from mk.cli import definition
from mk.config import TOPIC_CONFIG
from mk.records import codecs
from mk.server import operations
from tests.architecture.test_layers import SOURCES, imports, parsed

MAKES_OBJECTS = {"pickle", "marshal", "shelve", "dbm", "copyreg", "yaml", "jsonpickle", "dill", "cloudpickle", "joblib"}
RUNS_CODE = {"eval", "exec", "compile", "execfile"}
RUNS_COMMANDS = {
    "subprocess",
    "os.posix_spawn",
    "os.posix_spawnp",
    "os.system",
    "os.popen",
    "pty",
    "asyncio",
    "multiprocessing",
}
THROUGH_A_SHELL = {"system", "popen", "getoutput", "getstatusoutput", "create_subprocess_shell"}

# Module: what it runs.
MAY_RUN_COMMANDS = {
    "mk.consumer.child": "the command of --exec",
    "mk.transport.ssh": "ssh, or what MK_RSH says",
    "mk.maintenance.file_system_check": "this Python, to have a second process",
    "mk.storage.host": "sysctl, on macOS",
}
MAY_RUN_CODE = {
    "mk.formats.format_reader": "made of the parts of -f, which are parsed before",
    "mk.formats.format_writer": "made of the parts of -f, which are parsed before",
}
MAY_IMPORT_BY_NAME = {
    "mk.cli.main": "the function of a command",
    "mk.cli.definition": "the commands of a level",
    "mk.server.operations": "the function of an operation",
    "mk.__init__": "the public names",
}

# A file that is opened whether or not it is there, and not written to before others could have put something there: locks,
# mostly, under names that all processes must find. Everything else that is made is new.
MAY_OPEN_OR_MAKE = {
    "mk.groups.reset_journal",
    "mk.maintenance.file_system_check",
    "mk.maintenance.snapshot_place",
    "mk.replication.directory_replica",
    "mk.storage.clock_record",
    "mk.storage.files",
    "mk.storage.input_mark",
    "mk.storage.locks",
    "mk.storage.log_directory",
    "mk.storage.partition_files",
}


def calls(path):
    """Yield the name and the node of each call in a file: `f` for f(), `a.b` for a.b(), `.b` where a is no name."""
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Call):
            called = node.func
            if isinstance(called, ast.Name):
                yield called.id, node
            elif isinstance(called, ast.Attribute):
                yield f"{called.value.id if isinstance(called.value, ast.Name) else ''}.{called.attr}", node


@pytest.mark.parametrize("module", SOURCES)
def test_no_module_makes_objects_runs_code_or_asks_a_shell(module):
    path = SOURCES[module]
    assert not MAKES_OBJECTS & {name.split(".")[0] for name in imports(path, types_too=True)}
    for name, node in calls(path):
        last = name.rpartition(".")[2]
        if name in RUNS_CODE:
            assert module in MAY_RUN_CODE, f"line {node.lineno}"
        assert not (name.startswith(("os.", "subprocess.", "asyncio.")) and last in THROUGH_A_SHELL), (
            f"line {node.lineno}"
        )
        for keyword in node.keywords:
            # Also in a dictionary of keywords, which this would not see: there is none in these modules.
            assert keyword.arg != "shell", f"line {node.lineno}"
            assert not (keyword.arg is None and name.startswith("subprocess.")), f"line {node.lineno}"


def test_who_runs_commands_or_code_or_imports_by_name_is_known():
    running, importing, making = set(), set(), set()
    for module, path in SOURCES.items():
        names = {name for name, _ in calls(path)}
        if RUNS_COMMANDS & (set(imports(path, types_too=False)) | names) or any(
            "exec" in name for name in names & {"os.execv", "os.execvp", "os.execve"}
        ):
            running.add(module)
        if {"__import__", "importlib.import_module"} & names:
            importing.add(module)
        if RUNS_CODE & names:
            making.add(module)
    assert running == set(MAY_RUN_COMMANDS)
    assert importing == set(MAY_IMPORT_BY_NAME)
    assert making == set(MAY_RUN_CODE)


def test_what_is_imported_by_name_stands_in_the_source():
    """Neither an argument, nor a file, nor a peer can make up a name that is imported."""
    for command in definition.commands():
        for place in filter(None, (command.run, command.on_error)):
            assert place.partition(":")[0] in SOURCES
    for operation in operations.OPERATIONS.values():
        assert operation.home.partition(":")[0] in SOURCES, operation


def test_the_codecs_are_a_table_and_no_number_names_a_module():
    assert codecs.CODEC_NAMES == {"none": 0, "gzip": 1, "lz4": 3, "zstd": 4}
    for number in range(256):
        if number not in codecs.CODEC_NAMES.values():
            with pytest.raises(codecs.CodecError):
                codecs.decompress(number, b"x", 1)


def test_no_setting_of_a_topic_names_something_to_run():
    assert not [
        name for name in TOPIC_CONFIG if {"exec", "command", "plugin", "class", "path", "rsh"} & set(name.split("."))
    ]


def test_a_file_is_made_new_or_opened_as_it_is_and_never_emptied_as_it_is_opened():
    """O_TRUNC acts before anybody can look at what was opened; without O_EXCL what is made may be there already."""
    opening = set()
    for module, path in SOURCES.items():
        for node in ast.walk(parsed(path)):
            if isinstance(node, ast.Attribute) and node.attr == "O_TRUNC":
                raise AssertionError(f"{module}, line {node.lineno}: O_TRUNC")
        text = [line for line in path.read_text().splitlines() if "os.O_CREAT" in line]
        if any("O_EXCL" not in line for line in text):
            opening.add(module)
    assert opening == MAY_OPEN_OR_MAKE


def test_the_name_of_a_temporary_file_cannot_be_told_before():
    """64 random bits; of a topic that is made, the 128 of its id."""
    found = 0
    for module, path in SOURCES.items():
        for node in ast.walk(parsed(path)):
            if isinstance(node, ast.JoinedStr) and any(
                isinstance(part, ast.Constant) and ".tmp-" in str(part.value) for part in node.values
            ):
                (made_of,) = (ast.unparse(part.value) for part in node.values if isinstance(part, ast.FormattedValue))
                assert made_of in ("os.urandom(8).hex()", "topic_id"), f"{module}, line {node.lineno}: {made_of}"
                found += 1
        for name, node in calls(path):
            assert name != "tempfile.mktemp", f"{module}, line {node.lineno}"
    assert found > 5
