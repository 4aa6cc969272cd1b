"""Completions for bash, zsh and fish, made from the definition.

The shells list topics and consumer groups themselves, by listing the log directory; no Python starts while somebody types.
`python -m mk.cli.completions DIRECTORY` writes the files.
"""

import sys
from pathlib import Path

from mk.cli import definition, help_pages
from mk.cli.definition import Command, Parameter
from mk.cli.help_topics import subjects
from mk.cli.options import Options
from mk.config import TOPIC_CONFIG
from mk.formats.writers import PRESETS
from mk.maintenance.thresholds import THRESHOLDS

_NOTE = "made from the definition of the commands by mk.cli.completions; changes here are lost"


def run(options: Options) -> int:
    """Print the completions for the shell that is asked for."""
    print(files()[_FILE_NAMES[options.shell]], end="")
    return 0


def files() -> "dict[str, str]":
    """Return the completion files: name and content."""
    return {_FILE_NAMES["bash"]: _bash(), _FILE_NAMES["zsh"]: _zsh(), _FILE_NAMES["fish"]: _fish()}


_FILE_NAMES = {"bash": "mk.bash", "zsh": "_mk", "fish": "mk.fish"}


def _levels() -> "list[Command]":
    return [definition.ROOT, *definition.commands()]


def _options(level: Command) -> "list[Parameter]":
    return [parameter for parameter in level.parameters if parameter.flags and not parameter.hidden]


def _arguments(level: Command) -> "list[Parameter]":
    return [parameter for parameter in level.parameters if not parameter.flags]


def value_flags(level: Command) -> "list[str]":
    """Return the flags that take a value in one command. Those that may stand before it are the same in all (tested)."""
    return [flag for parameter in level.parameters if parameter.kind != definition.FLAG for flag in parameter.flags]


def _words(parameter: Parameter) -> "list[str]":
    """Return the words that are offered for a value; the rest is up to the shell."""
    if parameter.choices:
        return list(parameter.choices)
    if parameter.complete == definition.FORMAT:
        return list(PRESETS)
    if parameter.complete == definition.OFFSET:
        return ["start", "end"]
    if parameter.complete == "help":
        return [*subjects(), *(level.path[0] for level in help_pages.subcommands(definition.ROOT))]
    if parameter.complete == definition.LIMIT:
        return [f"{name}=" for name in sorted(THRESHOLDS)]
    settings = sorted([*TOPIC_CONFIG, "partitioner"])
    if parameter.kind == definition.SETTING:
        return [f"{name}=" for name in settings]
    if parameter.complete == definition.SETTING:
        return settings
    return []


# What a shell can list for itself. Topics and consumer groups are what it must be told how to list.
_LISTED = (definition.TOPIC, definition.CONSUMER_GROUP, definition.DIRECTORY, definition.FILE, definition.GROUP)


def _listed(parameter: Parameter) -> str:
    """Return what of its own the shell offers for a value, if the definition names no words; "" for nothing."""
    return parameter.complete if parameter.complete in _LISTED and not _words(parameter) else ""


# bash ----------------------------------------------------------------------------------------------------------------


def _bash() -> str:
    levels = []
    values = []
    for level in _levels():
        path = " ".join(level.path)
        commands = " ".join(child.path[-1] for child in help_pages.subcommands(level))
        flags = " ".join([*(flag for parameter in _options(level) for flag in parameter.flags), "--help"])
        arguments = " ".join(parameter.name + ("..." if parameter.multiple else "") for parameter in _arguments(level))
        if level is definition.ROOT:
            flags += " --version"
        with_value = f' value_flags=" {" ".join(value_flags(level))} "'
        levels.append(f'        "{path}") commands="{commands}" flags="{flags}" arguments="{arguments}"{with_value} ;;')
        for parameter in level.parameters:
            patterns = " | ".join(f'"{path}:{name}"' for name in parameter.flags or (parameter.name,))
            words = " ".join(_words(parameter))
            if words:
                values.append(f'        {patterns}) offer="{words}" ;;')
            elif _listed(parameter):
                values.append(f"        {patterns}) list={_listed(parameter)} ;;")
    return _BASH.format(note=_NOTE, levels="\n".join(levels), values="\n".join(values))


_BASH = r"""# bash completion for mk; {note}

# Offers the names of the directories that there are below one of the log directory.
_mk_names() {{
    local names name failglob=""
    local -
    set +o noglob
    shopt -q failglob && failglob=yes && shopt -u failglob
    names=("$directory"/"$1"/"$unquoted"*/)
    [[ -n $failglob ]] && shopt -s failglob
    names=("${{names[@]%/}}")
    # Whatever else somebody may have put there must not get onto the command line.
    for name in "${{names[@]##*/}}"; do
        [[ $name == [A-Za-z0-9]* && $name != *[^A-Za-z0-9._-]* ]] && COMPREPLY+=("$name")
    done
}}

# Sets `unquoted` to what bash will make of a word: without quotes, with ~ and variables; no command is run.
_mk_unquote() {{
    local word=$1 quote="" letter name i
    unquoted=""
    [[ $word == "~" || $word == "~/"* ]] && unquoted=$HOME word=${{word:1}}
    for ((i = 0; i < ${{#word}}; i++)); do
        letter=${{word:i:1}}
        if [[ $letter == "'" && $quote != '"' ]]; then
            [[ -n $quote ]] && quote="" || quote=$letter
        elif [[ $quote == "'" ]]; then
            unquoted+=$letter
        elif [[ $letter == '"' ]]; then
            [[ -n $quote ]] && quote="" || quote=$letter
        elif [[ $letter == \\ ]]; then
            ((i++))
            unquoted+=${{word:i:1}}
        elif [[ $letter == '$' && ${{word:i + 1}} =~ ^\{{?([A-Za-z_][A-Za-z_0-9]*)\}}? ]]; then
            name=${{BASH_REMATCH[1]}}
            unquoted+=${{!name}}
            ((i += ${{#BASH_REMATCH[0]}}))
        else
            unquoted+=$letter
        fi
    done
}}

_mk() {{
    local cur=${{COMP_WORDS[COMP_CWORD]}} previous=${{COMP_WORDS[COMP_CWORD - 1]}}
    local directory=${{MK_DIR:-${{XDG_DATA_HOME:-$HOME/.local/share}}/mk}}
    local path="" value_flags="" position=0 plain="" word value letters commands="" flags="" arguments=""
    local offer="" list="" name="" i unquoted here=""
    COMPREPLY=()

    # Where are we: the command so far, the number of arguments so far, the log directory, which may be named behind us.
    _mk_level "$path"
    for ((i = 1; i < ${{#COMP_WORDS[@]}}; i++)); do
        [[ $i == "$COMP_CWORD" ]] && here="$path:$position:$plain"
        word=${{COMP_WORDS[i]}}
        value=""
        if [[ -n $plain || $word != -?* ]]; then
            if [[ -z $plain && " $commands " == *" $word "* && -n $word ]]; then
                path=${{path:+$path }}$word
                _mk_level "$path"
            else
                ((position++))
            fi
            continue
        elif [[ $word == -- ]]; then
            plain=yes
            continue
        elif [[ $word == --* ]]; then
            [[ $value_flags == *" $word "* ]] || continue
            [[ ${{COMP_WORDS[i + 1]}} == = ]] && ((i++))
        else
            # Short flags may be joined, and the last one with its value.
            letters=${{word#-}}
            while [[ -n $letters && $value_flags != *" -${{letters:0:1}} "* ]]; do letters=${{letters:1}}; done
            [[ -n $letters ]] || continue
            word=-${{letters:0:1}}
            value=${{letters:1}}
        fi
        if [[ -z $value ]]; then
            ((i < COMP_CWORD && i + 1 >= COMP_CWORD)) && here="$path:$position:$plain"
            value=${{COMP_WORDS[++i]}}
        fi
        # Bash breaks a value such as key=value into three words.
        [[ ${{COMP_WORDS[i + 1]}} == = && $((i + 2)) -lt $COMP_CWORD ]] && ((i += 2))
        if [[ $word == -d || $word == --dir ]]; then
            _mk_unquote "$value"
            [[ -n $unquoted ]] && directory=$unquoted
        fi
        # Bash breaks a value such as key=value into three words.
        [[ ${{COMP_WORDS[i + 1]}} == = && $((i + 2)) -lt $COMP_CWORD ]] && ((i += 2))
    done
    IFS=: read -r path position plain <<< "$here"
    _mk_level "$path"

    # Bash breaks --flag=value into three words.
    if [[ $cur == = ]]; then
        cur=""
    elif [[ $previous == = ]]; then
        previous=${{COMP_WORDS[COMP_CWORD - 2]}}
    fi

    if [[ -z $plain && $previous == -* && $value_flags == *" $previous "* ]]; then
        name=$previous
    elif [[ -z $plain && $cur == -* ]]; then
        mapfile -t COMPREPLY < <(compgen -W "$flags" -- "$cur")
        return
    else
        [[ $position == 0 ]] && mapfile -t COMPREPLY < <(compgen -W "$commands" -- "$cur")
        for word in $arguments; do
            name=${{word%...}}
            [[ $word == *... || $position == 0 ]] && break
            ((position--))
            name=""
        done
    fi

    _mk_values "$path:$name"
    case $list in
        topic)
            _mk_unquote "$cur"
            _mk_names topics
            ;;
        consumer-group)
            _mk_unquote "$cur"
            _mk_names groups
            ;;
        directory) compopt -o dirnames 2> /dev/null ;;
        file) compopt -o default 2> /dev/null ;;
        group) mapfile -t COMPREPLY < <(compgen -g -- "$cur") ;;
        *)
            [[ -n $offer ]] && mapfile -t COMPREPLY < <(compgen -W "$offer" -- "$cur")
            [[ $offer == *= ]] && compopt -o nospace 2> /dev/null
            ;;
    esac
    return 0
}}

_mk_level() {{
    commands="" flags="" arguments="" value_flags=""
    case $1 in
{levels}
    esac
}}

_mk_values() {{
    case $1 in
{values}
    esac
}}

complete -F _mk mk
"""

# zsh -----------------------------------------------------------------------------------------------------------------


def _zsh() -> str:
    return _ZSH.format(note=_NOTE, root=_zsh_level(definition.ROOT, "_mk_commands").rstrip())


def _zsh_level(level: Command, function: str) -> str:
    """Return the functions that complete `level` and what is below it."""
    specifications = [_zsh_option(parameter) for parameter in _options(level)]
    specifications.append("'--help[show the help]'")
    if level is definition.ROOT:
        specifications.append("'--version[show the version]'")
    children = help_pages.subcommands(level)
    if not children:
        for parameter in _arguments(level):
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
        first = f"\n            {_zsh_action(_arguments(level)[0])}"
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
    words = " ".join(_words(parameter))
    if words:
        return f" compadd -S '' - {words}" if words.endswith("=") else f"({words})"
    return _ZSH_ACTIONS.get(_listed(parameter), " ")


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

# Offers the names of the directories that there are below one of the log directory; $2 is what they are called.
_mk_names() {{
    local directory=${{opt_args[-d]:-${{opt_args[--dir]:-$mk_directory}}}}
    local -a names match mbegin mend
    # _arguments puts a backslash in front of each colon and backslash.
    setopt localoptions extendedglob
    directory=${{(Q)${{directory//(#b)\\([\\:])/$match[1]}}}}
    if [[ $directory =~ '^\$\{{?([A-Za-z_][A-Za-z_0-9]*)\}}?(/.*)?$' ]]; then
        directory=${{(P)match[1]}}$match[2]
    fi
    directory=${{~directory:-${{MK_DIR:-${{XDG_DATA_HOME:-$HOME/.local/share}}/mk}}}}
    # Whatever else somebody may have put there must not get onto the command line.
    names=($directory/$1/[A-Za-z0-9]*(/N:t))
    names=(${{names:#*[^A-Za-z0-9._-]*}})
    _wanted $1 expl $2 compadd -a names
}}

{root}

_mk() {{
    local mk_directory
    _mk_commands "$@"
}}

# Autoloaded from $fpath, this file is the function; read by eval or source, it announces it.
if [[ $funcstack[1] == _mk ]]; then
    _mk "$@"
else
    compdef _mk mk
fi
"""

# fish ----------------------------------------------------------------------------------------------------------------


def _fish() -> str:
    lines = []
    for level in _levels():
        path = " ".join(level.path)
        at = f"-n {_fish_quoted(f'__mk_at {path}'.rstrip())}"
        for child in help_pages.subcommands(level):
            lines.append(f"complete -c mk {at} -a {child.path[-1]} -d {_fish_quoted(child.summary)}")
        within = f"-n {_fish_quoted(f'__mk_within {path}'.rstrip())}"
        for parameter in _options(level):
            names = " ".join(
                f"-l {flag[2:]}" if flag.startswith("--") else f"-s {flag[1:]}" for flag in parameter.flags
            )
            value = "" if parameter.kind == definition.FLAG else " -r" + _fish_values(parameter)
            lines.append(f"complete -c mk {within} {names}{value} -d {_fish_quoted(parameter.help)}")
        for place, parameter in enumerate(_arguments(level)):
            values = _fish_values(parameter)
            if values:
                start = f"__mk_argument{'_from' if parameter.multiple else ''} {place}"
                lines.append(f"complete -c mk -n {_fish_quoted(f'{start} {path}')}{values}")
    lines.append("complete -c mk -l help -d 'show the help'")
    lines.append("complete -c mk -n __mk_at -l version -d 'show the version'")
    commands = " ".join(_fish_quoted(" ".join(level.path)) for level in _levels()[1:])
    with_value = "\n".join(
        f"        case {_fish_quoted(' '.join(level.path))}\n"
        f"            string split ' ' -- {_fish_quoted(' '.join(value_flags(level)))}"
        for level in _levels()
        if value_flags(level)
    )
    return _FISH.format(note=_NOTE, with_value=with_value, commands=commands, lines="\n".join(lines))


def _fish_values(parameter: Parameter) -> str:
    words = _words(parameter)
    if words:
        return f" -f -a {_fish_quoted(' '.join(words))}"
    return _FISH_ACTIONS.get(_listed(parameter), " -f" if parameter.flags else "")


_FISH_ACTIONS = {
    definition.TOPIC: " -f -a '(__mk_names topics)'",
    definition.CONSUMER_GROUP: " -f -a '(__mk_names groups)'",
    definition.DIRECTORY: " -f -a '(__fish_complete_directories)'",
    definition.FILE: " -F",
    definition.GROUP: " -f -a '(__fish_complete_groups)'",
}


def _fish_quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", r"\'") + "'"


_FISH = r"""# fish completion for mk; {note}

# Prints a word with a ~ or a variable at its front replaced.
function __mk_expand
    set -l parts (string match -r '^\$([A-Za-z_][A-Za-z_0-9]*)(/.*)?$' -- $argv[1])
    and echo $$parts[2]$parts[3]
    or string replace -r '^~(?=/|$)' $HOME -- $argv[1]
end

# Prints the flags of a command that take a value, a line each.
function __mk_value_flags
    switch (string join ' ' '' $argv | string trim)
{with_value}
    end
end

# Prints three lines: the command so far, the number of arguments after it, the log directory.
function __mk_parse
    set -l value_flags (__mk_value_flags)
    set -l commands {commands}
    set -l path
    set -l count 0
    set -l plain no
    set -l awaited ''
    set -l directory
    if set -q XDG_DATA_HOME; and test -n "$XDG_DATA_HOME"
        set directory $XDG_DATA_HOME/mk
    else
        set directory $HOME/.local/share/mk
    end
    if set -q MK_DIR; and test -n "$MK_DIR"
        set directory $MK_DIR
    end
    # The log directory may also be named behind the cursor.
    set -l words (commandline -op)
    set -l last (count (commandline -opc))
    for i in (seq 2 (count $words))
        set -l word $words[$i]
        if test -n "$awaited"
            contains -- $awaited -d --dir; and set directory (__mk_expand $word)
            set awaited ''
        else if test $plain = no; and test "$word" = --
            set plain yes
        else if test $plain = no; and string match -q -- '--*=*' $word
            string match -q -- '--dir=*' $word; and set directory (__mk_expand (string replace -- --dir= '' $word))
        else if test $plain = no; and string match -q -- '--*' $word
            contains -- $word $value_flags; and set awaited $word
        else if test $plain = no; and string match -qr -- '^-.' $word
            # Short flags may be joined, and the last one with its value.
            set -l letters (string sub -s 2 -- $word)
            while test -n "$letters"
                set -l flag -(string sub -l 1 -- $letters)
                set letters (string sub -s 2 -- $letters)
                if contains -- $flag $value_flags
                    if test -z "$letters"
                        set awaited $flag
                    else if test $flag = -d
                        set directory (__mk_expand $letters)
                    end
                    break
                end
            end
        else if test $i -gt $last
            continue
        else if test $plain = no; and contains -- (string join ' ' $path $word) $commands
            set -a path $word
            set value_flags (__mk_value_flags $path)
        else
            set count (math $count + 1)
        end
    end
    string join ' ' '' $path
    echo $count
    echo $directory
end

function __mk_within
    set -l parsed (__mk_parse)
    test "$parsed[1]" = (string join ' ' '' $argv)
end

function __mk_at
    __mk_argument 0 $argv
end

function __mk_argument
    set -l parsed (__mk_parse)
    test "$parsed[1]" = (string join ' ' '' $argv[2..-1]); and test "$parsed[2]" = $argv[1]
end

function __mk_argument_from
    set -l parsed (__mk_parse)
    test "$parsed[1]" = (string join ' ' '' $argv[2..-1]); and test "$parsed[2]" -ge $argv[1]
end

# Prints the names of the directories that there are below one of the log directory.
function __mk_names
    set -l parsed (__mk_parse)
    set -l directories $parsed[3]/$argv[1]/*/
    # Whatever else somebody may have put there must not get onto the command line.
    string match -r --groups-only -- '/([A-Za-z0-9][A-Za-z0-9._-]*)/$' $directories
end

complete -c mk -f
{lines}
"""


if __name__ == "__main__":
    directory = Path(sys.argv[1])
    directory.mkdir(exist_ok=True)
    for name, content in files().items():
        (directory / name).write_text(content)
