"""`mk serve`, as data."""

from mk.cli.definition import DIRECTORY, DIRECTORY_OPTION, FLAG, PLACE, Command, Parameter

SERVE = Command(
    "serve",
    summary="the far side of ssh: serve one log directory to one client",
    panel="Copies",
    run="mk.cli.serve:run",
    description=(
        (
            "Nobody types this: `mk replicate`, and produce and consume on a directory HOST:DIR, run `mk serve --stdio` on "
            "HOST by ssh, and talk to it through its standard input and output. Nothing listens, and it ends with its client."
        ),
        (
            "The client names the directory and all else through that connection. What it may do is what the user may that "
            "ssh logs in as; --root and --only allow less. They belong into a command= of that user's authorized_keys, where "
            "a key is bound to them: what the client's ssh asks for instead (SSH_ORIGINAL_COMMAND) is not looked at."
        ),
        (
            "--only KIND:REGEX allows one kind of thing on the topics whose whole names match the Python regular expression, "
            "and may be repeated: pull to read logs and copy them from here, push to write copies of logs to here, produce "
            "to append records. Without any, all is allowed. Other topics are not listed and cannot be read or written."
        ),
    ),
    parameters=(
        Parameter(
            "stdio",
            "--stdio",
            kind=FLAG,
            default=False,
            help="talk through standard input and output, which is the only way there is",
        ),
        Parameter(
            "root",
            "--root",
            metavar="DIR",
            complete=DIRECTORY,
            panel=PLACE,
            help="serve this log directory and no other; the client may leave the directory out (HOST:)",
        ),
        Parameter(
            "only",
            "--only",
            metavar="KIND:REGEX",
            default=(),
            multiple=True,
            panel="Safety",
            help="allow pull, push or produce on the topics that match, and nothing else; may be repeated",
        ),
        DIRECTORY_OPTION,
    ),
    examples=(
        (
            'restrict,command="mk serve --stdio --root /srv/mk --only pull:orders" KEY',
            "a line of authorized_keys, where KEY is the line of id_ed25519.pub: with that key, topic orders can be copied from here, "
            "and nothing else be done",
        ),
        (
            "restrict,command=\"mk serve --stdio --root /srv/mk --only 'push:s7[.].*'\" KEY",
            "one that can only write copies of topics whose names begin with s7., and read no record",
        ),
        (
            'restrict,command="mk serve --stdio --root /srv/mk --only produce:orders" KEY',
            "one that can only append records to orders",
        ),
    ),
    exit_status="0 when the client is done or has gone away, 76 if what it said was not understood.",
)

COMMANDS = (SERVE,)
