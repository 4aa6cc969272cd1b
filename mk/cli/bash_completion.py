"""Completions for bash."""

from mk.cli import definition, help_pages
from mk.cli.completion_words import NOTE, all_levels, arguments_of, listed_for, options_of, value_flags, words_for


def bash_completion() -> str:
    """Return the file for bash."""
    levels = []
    values = []
    for level in all_levels():
        path = " ".join(level.path)
        commands = " ".join(child.path[-1] for child in help_pages.subcommands(level))
        flags = " ".join([*(flag for parameter in options_of(level) for flag in parameter.flags), "--help"])
        arguments = " ".join(
            parameter.name + ("..." if parameter.multiple else "") for parameter in arguments_of(level)
        )
        if level is definition.ROOT:
            flags += " --version"
        with_value = f' value_flags=" {" ".join(value_flags(level))} "'
        levels.append(f'        "{path}") commands="{commands}" flags="{flags}" arguments="{arguments}"{with_value} ;;')
        for parameter in level.parameters:
            patterns = " | ".join(f'"{path}:{name}"' for name in parameter.flags or (parameter.name,))
            words = " ".join(words_for(parameter))
            if words:
                values.append(f'        {patterns}) offer="{words}" ;;')
            elif listed_for(parameter):
                values.append(f"        {patterns}) list={listed_for(parameter)} ;;")
    return _BASH.format(note=NOTE, levels="\n".join(levels), values="\n".join(values))


_BASH = r"""# bash completion for mk; {note}

# Offers the names of the directories that there are below one of the log directory, or what a Kafka cluster tells in time.
_mk_names() {{
    local names name failglob=""
    local -
    if [[ $directory == kafka://* ]]; then
        mapfile -t names < <(
            command mk "$1" -q -d "$directory" ${{properties[@]+"${{properties[@]}}"}} -X mk.timeout.ms=1000 2> /dev/null < /dev/null |
                while IFS= read -r name; do [[ $name == "$unquoted"* ]] && echo "$name"; done
        )
    else
        set +o noglob
        shopt -q failglob && failglob=yes && shopt -u failglob
        names=("$directory"/"$1"/"$unquoted"*/)
        [[ -n $failglob ]] && shopt -s failglob
        names=("${{names[@]%/}}")
    fi
    # Whatever else somebody may have put there must not get onto the command line.
    for name in "${{names[@]##*/}}"; do
        [[ $name == [A-Za-z0-9_]* && $name != *[^A-Za-z0-9._-]* ]] && COMPREPLY+=("$name")
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
    local offer="" list="" name="" i unquoted here="" properties=()
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
        # Bash breaks a value such as key=value into three words, and one such as kafka://host:port into five.
        while [[ ${{COMP_WORDS[i + 1]-}} == [=:]* ]]; do
            ((i < COMP_CWORD && i + 2 >= COMP_CWORD)) && return 0
            value+=${{COMP_WORDS[i + 1]}}${{COMP_WORDS[i + 2]-}}
            ((i += 2))
        done
        if [[ $word == -d || $word == --dir ]]; then
            _mk_unquote "$value"
            [[ -n $unquoted ]] && directory=$unquoted
        elif [[ $word == -X ]]; then
            _mk_unquote "$value"
            properties+=(-X "$unquoted")
        fi
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
