"""Completions for fish."""

from mk.cli import definition, help_pages
from mk.cli.completion_words import NOTE, all_levels, arguments_of, listed_for, options_of, value_flags, words_for
from mk.cli.definition import Parameter


def fish_completion() -> str:
    """Return the file for fish."""
    lines = []
    for level in all_levels():
        path = " ".join(level.path)
        at = f"-n {_fish_quoted(f'__mk_at {path}'.rstrip())}"
        for child in help_pages.subcommands(level):
            lines.append(f"complete -c mk {at} -a {child.path[-1]} -d {_fish_quoted(child.summary)}")
        within = f"-n {_fish_quoted(f'__mk_within {path}'.rstrip())}"
        for parameter in options_of(level):
            names = " ".join(
                f"-l {flag[2:]}" if flag.startswith("--") else f"-s {flag[1:]}" for flag in parameter.flags
            )
            value = "" if parameter.kind == definition.FLAG else " -r" + _fish_values(parameter)
            lines.append(f"complete -c mk {within} {names}{value} -d {_fish_quoted(parameter.help)}")
        for place, parameter in enumerate(arguments_of(level)):
            values = _fish_values(parameter)
            if values:
                start = f"__mk_argument{'_from' if parameter.multiple else ''} {place}"
                lines.append(f"complete -c mk -n {_fish_quoted(f'{start} {path}')}{values}")
    lines.append("complete -c mk -l help -d 'show the help'")
    lines.append("complete -c mk -n __mk_at -l version -d 'show the version'")
    commands = " ".join(_fish_quoted(" ".join(level.path)) for level in all_levels()[1:])
    with_value = "\n".join(
        f"        case {_fish_quoted(' '.join(level.path))}\n"
        f"            string split ' ' -- {_fish_quoted(' '.join(value_flags(level)))}"
        for level in all_levels()
        if value_flags(level)
    )
    return _FISH.format(note=NOTE, with_value=with_value, commands=commands, lines="\n".join(lines))


def _fish_values(parameter: Parameter) -> str:
    words = words_for(parameter)
    if words:
        return f" -f -a {_fish_quoted(' '.join(words))}"
    return _FISH_ACTIONS.get(listed_for(parameter), " -f" if parameter.flags else "")


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

# Prints three lines: the command so far, the number of arguments after it, the log directory; then each value of -X.
function __mk_parse
    set -l value_flags (__mk_value_flags)
    set -l commands {commands}
    set -l path
    set -l count 0
    set -l plain no
    set -l awaited ''
    set -l directory
    set -l properties
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
            test $awaited = -X; and set -a properties $word
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
                    else if test $flag = -X
                        set -a properties $letters
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
    string join -- \n $properties
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

# Prints the names of the directories that there are below one of the log directory, or what a Kafka cluster tells in time.
function __mk_names
    set -l parsed (__mk_parse)
    set -l names
    if string match -q 'kafka://*' -- $parsed[3]
        set names /(command mk $argv[1] -q -d $parsed[3] -X$parsed[4..-1] -X mk.timeout.ms=1000 2> /dev/null < /dev/null)/
    else
        set names $parsed[3]/$argv[1]/*/
    end
    # Whatever else somebody may have put there must not get onto the command line.
    string match -r --groups-only -- '/([A-Za-z0-9_][A-Za-z0-9._-]*)/$' $names
end

complete -c mk -f
{lines}
"""
