"""The entry: parse, run one command, and turn whatever happens into text and an exit status, here and nowhere else."""

import os
import sys

from mk.cli import definition, fast_parser, signals
from mk.cli.notes import visible
from mk.errors import MkError, NotFoundError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any, TextIO


def main(argv: "Sequence[str] | None" = None) -> int:
    """Run the command line `argv` (else that of the process) and return its exit status, with all output written.

    Does not return when a signal or a closed pipe ends the command: the process then dies of that signal.
    """
    arguments = sys.argv[1:] if argv is None else list(argv)
    try:
        signals.raise_on_stop_signals()
        return _main(arguments)
    except KeyboardInterrupt as stop:
        return signals.die_of(getattr(stop, "signal_number", signals.SIGINT))


def _main(arguments: "list[str]") -> int:
    _open_closed_streams()
    try:
        status = _run(arguments)
        sys.stdout.flush()
        _flush_or_drop(sys.stderr, 2)
        return status
    except BrokenPipeError:
        return signals.die_of(signals.SIGPIPE)
    except MkError as error:
        failure = error
    except OSError as error:
        failure = _from_os_error(error)
    except Exception as error:  # noqa: BLE001  a bug is reported as one, with its traceback
        failure = _from_bug(error)
    _flush_or_drop(sys.stdout, 1)
    command = definition.named_command(arguments)
    if command is not None and command.on_error:
        tell: Callable[[MkError, Sequence[str]], int] = _function(command.on_error)
        return tell(failure, arguments)
    report(failure, as_json=_wants_json(arguments))
    return failure.exit_status


def _run(arguments: "list[str]") -> int:
    if arguments == ["--version"]:
        from mk import __version__

        print("mk", __version__)
        return 0
    options = fast_parser.parse(arguments, os.environ)
    if options is None:
        from mk.cli.typer_app import Application

        parsed = Application().parse(arguments, os.environ)
        if isinstance(parsed, int):
            return parsed
        options = parsed
    if _concerns_kafka(options):
        from mk.cli.kafka_location import prepare

        prepare(options, arguments)
    elif ":" in (getattr(options, "directory", None) or ""):
        from mk.cli.remote_directory import check_is_offered

        check_is_offered(options, arguments)
    run: Callable[[object], int] = _function(options.command.run)
    try:
        return run(options)
    except NotFoundError as error:
        from mk.cli.suggestions import suggest

        suggest(error, options)
        raise


def _concerns_kafka(options: "Any") -> bool:
    """Tell whether a command is to work on a Kafka cluster, or is told how to."""
    values = vars(options)
    places = (values.get("directory"), values.get("source"), values.get("target"), values.get("destination"))
    return bool(values.get("properties")) or any(place and place.startswith("kafka://") for place in places)


def _function(place: str) -> "Any":
    """Return the function at "module:function"."""
    module, _, function = place.partition(":")
    __import__(module)
    return getattr(sys.modules[module], function)


def _open_closed_streams() -> None:
    """Occupy the descriptors 0, 1 and 2 if the parent closed them, so that no log file is opened as one of them.

    Reading a closed input or writing a closed output fails then, with EBADF; errors without a place to go are lost.
    """
    if sys.stdin is None:
        _occupy(0, os.O_WRONLY)
        sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115  open as long as the process
    if sys.stdout is None:
        _occupy(1, os.O_RDONLY)
        sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    if sys.stderr is None:
        _occupy(2, os.O_WRONLY)
        sys.stderr = open(2, "w", encoding="utf-8", errors="backslashreplace", closefd=False)  # noqa: SIM115


def _occupy(descriptor: int, mode: int) -> None:
    opened = os.open(os.devnull, mode)
    if opened != descriptor:
        os.dup2(opened, descriptor)
        os.close(opened)


def _flush_or_drop(stream: "TextIO", descriptor: int) -> None:
    """Write what `stream` holds; what cannot be written is dropped, or it would fail again at exit, with status 120."""
    try:
        stream.flush()
    except OSError:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, descriptor)
        os.close(null)


def _from_os_error(error: OSError) -> MkError:
    """Give an error of the system that no layer below explained its place among the exit statuses."""
    import errno

    from mk.errors import PermissionDeniedError, StorageError

    place = os.fsdecode(error.filename) if isinstance(error.filename, (str, bytes)) else ""
    why = error.strerror or str(error)
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return PermissionDeniedError(
            f"no permission to use {place or 'standard input or output'}",
            why=why,
            fix="run as a user who may, or name another directory with -d",
            path=place,
        )
    if error.errno in (errno.EMFILE, errno.ENFILE):
        return StorageError(
            f"cannot open {place or 'what is needed'}",
            why=why,
            fix="raise the limit (ulimit -n), or name fewer topics and partitions",
            path=place,
        )
    if place:
        is_full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        return StorageError(
            f"cannot use {place}",
            why=why,
            fix="make room, as `mk topics clean`, trim and delete can also now, then run it again"
            if is_full
            else "look at that path and its disk",
            path=place,
        )
    if not _is_of_a_stream(error):
        return StorageError(
            "the log directory cannot be used",
            why=why,
            fix="look at its disk, and run it again; what was acknowledged is stored",
        )
    return StorageError(
        "standard input or output failed",
        why="it is closed" if error.errno == errno.EBADF else why,
        fix="look at what they are redirected to",
    )


def _is_of_a_stream(error: OSError) -> bool:
    """Tell whether an error without a file's name came up where standard input and output are read and written.

    What is done through the descriptor of a file or directory (reading, listing, locking, closing it) fails without a name
    too. Taken for the streams, a failing disk would send its owner to look at a pipe that is well.
    """
    module = ""
    step = error.__traceback__
    while step is not None:
        name = step.tb_frame.f_globals.get("__name__", "")
        module = name if name.startswith("mk.") else module
        step = step.tb_next
    return module.startswith(("mk.cli.", "mk.formats."))


def _from_bug(error: Exception) -> MkError:
    import traceback

    from mk import __version__

    lines = traceback.format_exception(type(error), error, error.__traceback__)
    return MkError(
        f"mk itself failed: {type(error).__name__}: {error}",
        why=f"this is a bug in mk {__version__}",
        fix="please report it, with the lines below; what was acknowledged before it is stored",
        traceback="".join(lines).splitlines(),
    )


def _wants_json(arguments: "list[str]") -> bool:
    """Tell whether errors are wanted as JSON; asked of the words, since a command line that fails to parse counts too."""
    words = arguments[: arguments.index("--")] if "--" in arguments else arguments
    return "--json" in words


def report(error: MkError, *, as_json: bool) -> None:
    """Tell of an error on stderr. Where nobody can be told, the exit status remains."""
    if as_json:
        import json

        document = {
            "error": type(error).__name__,
            "what": error.what,
            "why": error.why,
            "fix": error.fix,
            "exit_status": error.exit_status,
            "facts": error.facts,
        }
        lines = [json.dumps(document, default=repr)]
    else:
        lines = [f"mk: error: {visible(error.what)}"]
        if error.why:
            lines.append(f"  why: {visible(error.why)}")
        if error.fix:
            lines.append(f"  fix: {visible(error.fix)}")
        for line in error.facts.get("traceback", ()):  # type: ignore[attr-defined]
            lines.append(visible(line))
    try:
        print("\n".join(lines), file=sys.stderr)
    except OSError:
        pass  # nobody can be told; the exit status remains
    _flush_or_drop(sys.stderr, 2)
