"""Completions for zsh."""

from mk.cli import definition, help_pages
from mk.cli.completion_words import NOTE, arguments_of, listed_for, options_of, words_for
from mk.cli.definition import Command, Parameter


def zsh_completion() -> str:
    """Return the file for zsh."""
    return _ZSH.format(note=NOTE, root=_zsh_level(definition.ROOT, "_mk_commands").rstrip())


def _zsh_level(level: Command, function: str) -> str:
    """Return the functions that complete `level` and what is below it."""
    specifications = [_zsh_option(parameter) for parameter in options_of(level)]
    specifications.append("'--help[show the help]'")
    if level is definition.ROOT:
        specifications.append("'--version[show the version]'")
    children = help_pages.subcommands(level)
    if not children:
        for parameter in arguments_of(level):
            place = "*" if parameter.multiple else ""
            optional = "" if parameter.required or parameter.multiple else ":"
            specifications.append(_quoted(f"{place}:{optional}{parameter.metavar.lower()}:{_zsh_action(parameter)}"))
        joined = " \\\n        ".join(specifications)
        return f"{function}() {{\n    _arguments -s -S \\\n        {joined}\n}}\n\n"
    joined = " \\\n        ".join([*specifications, "'1: :->command'", "'*:: :->arguments'"])
    described = "\n".join(f"                {_quoted(child.path[-1] + ':' + child.summary)}" for child in children)
    names = " | ".join(child.path[-1] for child in children)
    default = definition.command_of_words(level.path)
    first, rest = "", ""
    if default is not None:
        first = f"\n            {_zsh_action(arguments_of(level)[0])}"
        rest = f"\n                *) {function}_{default.path[-1]} ;;"
    body = _ZSH_GROUP.format(
        function=function, specifications=joined, described=described, names=names, first=first, rest=rest
    )
    return body + "".join(_zsh_level(child, f"{function}_{child.path[-1]}") for child in children)


def _zsh_option(parameter: Parameter) -> str:
    text = parameter.help.replace("\\", "\\\\").replace("[", r"\[").replace("]", r"\]").replace(":", r"\:")
    takes_value = parameter.kind != definition.FLAG
    value = f":{parameter.metavar.lower()}:{_zsh_action(parameter)}" if takes_value else ""
    repeated = "*" if parameter.multiple else ""
    others = "" if parameter.multiple or len(parameter.flags) == 1 else f"({' '.join(parameter.flags)})"
    specifications = []
    for flag in parameter.flags:
        end = "" if not takes_value else "=" if flag.startswith("--") else "+"
        specifications.append(_quoted(f"{others}{repeated}{flag}{end}[{text}]{value}"))
    return " ".join(specifications)


def _zsh_action(parameter: Parameter) -> str:
    words = " ".join(words_for(parameter))
    if words:
        return f" compadd -S '' - {words}" if words.endswith("=") else f"({words})"
    return _ZSH_ACTIONS.get(listed_for(parameter), " ")


_ZSH_ACTIONS = {
    definition.TOPIC: "_mk_topics",
    definition.CONSUMER_GROUP: "_mk_groups",
    definition.DIRECTORY: "_files -/",
    definition.FILE: "_files",
    definition.GROUP: "_groups",
}


def _quoted(text: str) -> str:
    return "'" + text.replace("'", r"'\''") + "'"


_ZSH_GROUP = """\
{function}() {{
    local context state state_descr line
    local -a commands
    typeset -A opt_args
    _arguments -C -s -S -A '-*' \\
        {specifications} && return
    mk_directory=${{opt_args[-d]:-${{opt_args[--dir]:-$mk_directory}}}}
    mk_properties=${{opt_args[-X]:-$mk_properties}}
    case $state in
        command)
            commands=(
{described}
            )
            _describe command commands{first}
            ;;
        arguments)
            case $words[1] in
                {names}) {function}_$words[1] ;;{rest}
            esac
            ;;
    esac
}}

"""

_ZSH = r"""#compdef mk
# zsh completion for mk; {note}

_mk_topics() {{
    _mk_names topics topic
}}

_mk_groups() {{
    _mk_names groups group
}}

# Offers the names of the directories that there are below one of the log directory, or what a Kafka cluster tells in time; $2
# is what they are called.
_mk_names() {{
    local directory=${{opt_args[-d]:-${{opt_args[--dir]:-$mk_directory}}}}
    local -a names match mbegin mend properties
    # _arguments puts a backslash in front of each colon and backslash, and a colon between the values of one option.
    setopt localoptions extendedglob
    properties=(${{(s.:.)${{opt_args[-X]:-$mk_properties}}}})
    directory=${{(Q)${{directory//(#b)\\([\\:])/$match[1]}}}}
    if [[ $directory =~ '^\$\{{?([A-Za-z_][A-Za-z_0-9]*)\}}?(/.*)?$' ]]; then
        directory=${{(P)match[1]}}$match[2]
    fi
    directory=${{~directory:-${{MK_DIR:-${{XDG_DATA_HOME:-$HOME/.local/share}}/mk}}}}
    if [[ $directory == kafka://* ]]; then
        names=(${{(f)"$(command mk $1 -q -d $directory -X${{^${{(Q)properties}}}} -X mk.timeout.ms=1000 2> /dev/null < /dev/null)"}})
    else
        names=($directory/$1/*(/N:t))
    fi
    # Whatever else somebody may have put there must not get onto the command line.
    names=(${{(M)names:#[A-Za-z0-9_]*}})
    names=(${{names:#*[^A-Za-z0-9._-]*}})
    _wanted $1 expl $2 compadd -a names
}}

{root}

_mk() {{
    local mk_directory mk_properties
    _mk_commands "$@"
}}

# Autoloaded from $fpath, this file is the function; read by eval or source, it announces it.
if [[ $funcstack[1] == _mk ]]; then
    _mk "$@"
else
    compdef _mk mk
fi
"""
