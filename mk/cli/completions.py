"""Completions for bash, zsh and fish, made from the definition.

The shells list topics themselves, by listing the log directory; no Python starts while somebody types.
`python -m mk.cli.completions DIRECTORY` writes the files.
"""

import sys
from pathlib import Path

from mk.cli import definition, help_pages
from mk.cli.definition import Command, Parameter
from mk.cli.help_topics import subjects
from mk.cli.options import Options

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
    return [definition.ROOT, *definition.GROUPS, *definition.COMMANDS]


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
    if parameter.complete == definition.OFFSET:
        return ["start", "end"]
    if parameter.complete == "help":
        return [*subjects(), *(level.path[0] for level in help_pages.subcommands(definition.ROOT))]
    return []


# bash ----------------------------------------------------------------------------------------------------------------


def _bash() -> str:
    levels = []
    values = []
    for level in _levels():
        path = " ".join(level.path)
        commands = " ".join(child.path[-1] for child in help_pages.subcommands(level))
        flags = " ".join([*(flag for parameter in _options(level) for flag in parameter.flags), "--help"])
        arguments = " ".join(
            (parameter.complete or "none") + ("..." if parameter.multiple else "") for parameter in _arguments(level)
        )
        if level is definition.ROOT:
            flags += " --version"
        with_value = f' value_flags=" {" ".join(value_flags(level))} "'
        levels.append(f'        "{path}") commands="{commands}" flags="{flags}" arguments="{arguments}"{with_value} ;;')
        for parameter in level.parameters:
            words = " ".join(_words(parameter))
            patterns = [f'"{path}:{flag}"' for flag in parameter.flags] or [f'"{path}:{parameter.complete}"']
            if not parameter.flags and parameter.choices:
                patterns = [f'"{path}:none"']
            if words:
                values.append(f'        {" | ".join(patterns)}) offer="{words}" ;;')
    return _BASH.format(note=_NOTE, levels="\n".join(levels), values="\n".join(values))


_BASH = r"""# bash completion for mk; {note}

_mk_topics() {{
    local name
    for name in "$directory"/topics/*/; do
        name=${{name%/}}
        name=${{name##*/}}
        [[ $name != .* && $name != '*' && $name == "$cur"* ]] && COMPREPLY+=("$name")
    done
}}

_mk() {{
    local cur=${{COMP_WORDS[COMP_CWORD]}} previous=${{COMP_WORDS[COMP_CWORD - 1]}}
    local directory=${{MK_DIR:-${{XDG_DATA_HOME:-$HOME/.local/share}}/mk}}
    local path="" value_flags="" position=0 plain="" word value letters commands="" flags="" arguments="" offer="" kind="" i
    COMPREPLY=()

    # Where are we: the command so far, the number of arguments so far, the log directory.
    _mk_level "$path"
    for ((i = 1; i < COMP_CWORD; i++)); do
        word=${{COMP_WORDS[i]}}
        value=""
        if [[ -n $plain || $word != -?* ]]; then
            if [[ -z $plain && " $commands " == *" $word "* ]]; then
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
            value=${{COMP_WORDS[++i]}}
        else
            # Short flags may be joined, and the last one with its value.
            letters=${{word#-}}
            while [[ -n $letters && $value_flags != *" -${{letters:0:1}} "* ]]; do letters=${{letters:1}}; done
            [[ -n $letters ]] || continue
            word=-${{letters:0:1}}
            value=${{letters:1}}
            [[ -n $value ]] || value=${{COMP_WORDS[++i]}}
        fi
        [[ $word == -d || $word == --dir ]] && directory=${{value/#\~\//$HOME/}}
    done

    # Bash breaks --flag=value into three words.
    if [[ $cur == = ]]; then
        cur=""
    elif [[ $previous == = ]]; then
        previous=${{COMP_WORDS[COMP_CWORD - 2]}}
    fi

    if [[ -z $plain && $previous == -* && $value_flags == *" $previous "* ]]; then
        kind=$previous
        [[ $previous == -d || $previous == --dir ]] && kind=directory
    elif [[ -z $plain && $cur == -* ]]; then
        mapfile -t COMPREPLY < <(compgen -W "$flags" -- "$cur")
        return
    else
        [[ $position == 0 ]] && mapfile -t COMPREPLY < <(compgen -W "$commands" -- "$cur")
        for word in $arguments; do
            kind=${{word%...}}
            [[ $word == *... || $position == 0 ]] && break
            ((position--))
            kind=""
        done
    fi

    case $kind in
        topic) _mk_topics ;;
        directory)
            compopt -o filenames 2> /dev/null
            mapfile -t COMPREPLY < <(compgen -d -- "$cur")
            ;;
        "") ;;
        *)
            _mk_values "$path:$kind"
            mapfile -t COMPREPLY < <(compgen -W "$offer" -- "$cur")
            ;;
    esac
}}

_mk_level() {{
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
    body = _ZSH_GROUP.format(function=function, specifications=joined, described=described, names=names)
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
    words = _words(parameter)
    if words:
        return f"({' '.join(words)})"
    return {definition.TOPIC: "_mk_topics", definition.DIRECTORY: "_files -/"}.get(parameter.complete, " ")


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
            _describe command commands
            ;;
        arguments)
            case $words[1] in
                {names}) {function}_$words[1] ;;
            esac
            ;;
    esac
}}

"""

_ZSH = """#compdef mk
# zsh completion for mk; {note}

_mk_topics() {{
    local directory=${{opt_args[-d]:-${{opt_args[--dir]:-$mk_directory}}}}
    local -a names
    directory=${{~${{(Q)directory}}:-${{MK_DIR:-${{XDG_DATA_HOME:-$HOME/.local/share}}/mk}}}}
    names=($directory/topics/[^.]*(-/N:t))
    _wanted topics expl topic compadd -a names
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
            value = "" if parameter.kind == definition.FLAG else f" -x{_fish_values(parameter)}"
            lines.append(f"complete -c mk {within} {names}{value} -d {_fish_quoted(parameter.help)}")
        for place, parameter in enumerate(_arguments(level)):
            values = _fish_values(parameter)
            if values:
                start = "__mk_within" if parameter.multiple else f"__mk_argument {place}"
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
        return f" -a {_fish_quoted(' '.join(words))}"
    if parameter.complete == definition.TOPIC:
        return " -a '(__mk_topics)'"
    return " -a '(__fish_complete_directories)'" if parameter.complete == definition.DIRECTORY else ""


def _fish_quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", r"\'") + "'"


_FISH = r"""# fish completion for mk; {note}

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
    for word in (commandline -opc)[2..-1]
        if test -n "$awaited"
            contains -- $awaited -d --dir; and set directory (string replace -r '^~/' "$HOME/" -- $word)
            set awaited ''
        else if test $plain = no; and test "$word" = --
            set plain yes
        else if test $plain = no; and string match -q -- '--*=*' $word
            string match -q -- '--dir=*' $word; and set directory (string replace -- --dir= '' $word)
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
                        set directory $letters
                    end
                    break
                end
            end
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

function __mk_topics
    set -l parsed (__mk_parse)
    for topic in $parsed[3]/topics/*/
        string replace -r '^.*/([^/]+)/$' '$1' -- $topic
    end
end

complete -c mk -f
{lines}
"""


if __name__ == "__main__":
    directory = Path(sys.argv[1])
    directory.mkdir(exist_ok=True)
    for name, content in files().items():
        (directory / name).write_text(content)
