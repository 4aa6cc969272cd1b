# bash completion for mk; made from the definition of the commands by mk.cli.completions; changes here are lost

_mk_topics() {
    local name
    for name in "$directory"/topics/*/; do
        name=${name%/}
        name=${name##*/}
        [[ $name != .* && $name != '*' && $name == "$cur"* ]] && COMPREPLY+=("$name")
    done
}

_mk() {
    local cur=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]}
    local directory=${MK_DIR:-${XDG_DATA_HOME:-$HOME/.local/share}/mk}
    local path="" value_flags="" position=0 plain="" word value letters commands="" flags="" arguments="" offer="" kind="" i
    COMPREPLY=()

    # Where are we: the command so far, the number of arguments so far, the log directory.
    _mk_level "$path"
    for ((i = 1; i < COMP_CWORD; i++)); do
        word=${COMP_WORDS[i]}
        value=""
        if [[ -n $plain || $word != -?* ]]; then
            if [[ -z $plain && " $commands " == *" $word "* ]]; then
                path=${path:+$path }$word
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
            [[ ${COMP_WORDS[i + 1]} == = ]] && ((i++))
            value=${COMP_WORDS[++i]}
        else
            # Short flags may be joined, and the last one with its value.
            letters=${word#-}
            while [[ -n $letters && $value_flags != *" -${letters:0:1} "* ]]; do letters=${letters:1}; done
            [[ -n $letters ]] || continue
            word=-${letters:0:1}
            value=${letters:1}
            [[ -n $value ]] || value=${COMP_WORDS[++i]}
        fi
        [[ $word == -d || $word == --dir ]] && directory=${value/#\~\//$HOME/}
    done

    # Bash breaks --flag=value into three words.
    if [[ $cur == = ]]; then
        cur=""
    elif [[ $previous == = ]]; then
        previous=${COMP_WORDS[COMP_CWORD - 2]}
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
            kind=${word%...}
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
}

_mk_level() {
    case $1 in
        "") commands="produce consume tail topics completion help" flags="-d --dir -q -v --json --no-color --yes --allow-network-fs --timeout --help --version" arguments="" value_flags=" -d --dir --timeout " ;;
        "topics") commands="list create describe alter rename seal delete offsets which get verify dump clean trim" flags="-r --regex -q -d --dir --json --no-color --help" arguments="" value_flags=" -r --regex -d --dir " ;;
        "produce") commands="" flags="--file -D --delimiter -0 --null --whole -n --count --skip-bad -k --key -K --key-delimiter -H --header --timestamp -Z -p --partition -z --compression --acks --producer-id --lock-wait --partitions --no-create -d --dir --allow-network-fs -T --tee -q -v --json --help" arguments="topic none..." value_flags=" --file -D --delimiter -n --count -k --key -K --key-delimiter -H --header --timestamp -p --partition -z --compression --acks --producer-id --lock-wait --partitions -d --dir " ;;
        "consume") commands="" flags="-r --regex -o --offset --from --to --since --until -p --partition -n --count --tail -F --follow --idle --max-time --timeout -f --format -J --json -D --delimiter -0 --null -Z --raw -q -d --dir --help" arguments="topic..." value_flags=" -r --regex -o --offset --from --to --since --until -p --partition -n --count --tail --idle --max-time --timeout -f --format -D --delimiter -d --dir " ;;
        "tail") commands="" flags="-r --regex -p --partition --tail --idle --max-time --timeout -f --format -J --json -D --delimiter -0 --null -Z --raw -q -d --dir --help" arguments="topic..." value_flags=" -r --regex -p --partition --tail --idle --max-time --timeout -f --format -D --delimiter -d --dir " ;;
        "topics list") commands="" flags="-r --regex -q -d --dir --json --no-color --help" arguments="" value_flags=" -r --regex -d --dir " ;;
        "topics create") commands="" flags="-p --partitions -c --config --if-not-exists --shared-group --shared-readers --dry-run --lock-wait -d --dir --allow-network-fs --json -q --help" arguments="none" value_flags=" -p --partitions -c --config --shared-group --shared-readers --lock-wait -d --dir " ;;
        "topics describe") commands="" flags="-r --regex -s --summary -c --configs -p --partitions -a --all -d --dir --json --no-color --help" arguments="topic..." value_flags=" -r --regex -d --dir " ;;
        "topics alter") commands="" flags="-c --config --unset -p --partitions --dry-run --yes --if-exists --lock-wait -d --dir --allow-network-fs --json -q --help" arguments="topic" value_flags=" -c --config --unset -p --partitions --lock-wait -d --dir " ;;
        "topics rename") commands="" flags="--dry-run --if-exists --lock-wait -d --dir --allow-network-fs --json -q --help" arguments="topic none" value_flags=" --lock-wait -d --dir " ;;
        "topics seal") commands="" flags="--undo --dry-run --if-exists --lock-wait -d --dir --allow-network-fs --json -q --help" arguments="topic" value_flags=" --lock-wait -d --dir " ;;
        "topics delete") commands="" flags="-r --regex --dry-run --yes --if-exists --lock-wait -d --dir --allow-network-fs --json -q --help" arguments="topic..." value_flags=" -r --regex --lock-wait -d --dir " ;;
        "topics offsets") commands="" flags="-p --partition -d --dir --json --no-color --help" arguments="topic" value_flags=" -p --partition -d --dir " ;;
        "topics which") commands="" flags="-q -d --dir --json --no-color --help" arguments="topic none..." value_flags=" -d --dir " ;;
        "topics get") commands="" flags="-p --partition --all-partitions -f --format -J --json -0 --null --raw -d --dir --help" arguments="topic none" value_flags=" -p --partition -f --format -d --dir " ;;
        "topics verify") commands="" flags="-r --regex -p --partition -d --dir --json --no-color -q --help" arguments="topic..." value_flags=" -r --regex -p --partition -d --dir " ;;
        "topics dump") commands="" flags="-p --partition -o --offset --records -d --dir --json --help" arguments="topic" value_flags=" -p --partition -o --offset -d --dir " ;;
        "topics clean") commands="" flags="-r --regex --dry-run --lock-wait -d --dir --allow-network-fs --json --no-color -q --help" arguments="topic..." value_flags=" -r --regex --lock-wait -d --dir " ;;
        "topics trim") commands="" flags="--to -p --partition --dry-run --yes --lock-wait -d --dir --allow-network-fs --json --no-color -q --help" arguments="topic" value_flags=" --to -p --partition --lock-wait -d --dir " ;;
        "completion") commands="" flags="--help" arguments="none" value_flags="  " ;;
        "help") commands="" flags="--help" arguments="help..." value_flags="  " ;;
    esac
}

_mk_values() {
    case $1 in
        "produce:-z" | "produce:--compression") offer="none gzip lz4 zstd" ;;
        "produce:--acks") offer="0 1" ;;
        "consume:-o" | "consume:--offset") offer="start end" ;;
        "consume:--from") offer="start end" ;;
        "consume:--to") offer="start end" ;;
        "consume:-f" | "consume:--format") offer="value kv json raw" ;;
        "tail:-f" | "tail:--format") offer="value kv json raw" ;;
        "topics create:--shared-readers") offer="all group" ;;
        "topics get:-f" | "topics get:--format") offer="value kv json raw" ;;
        "topics trim:--to") offer="start end" ;;
        "completion:none") offer="bash zsh fish" ;;
        "help:help") offer="offsets formats exit-codes produce consume tail topics completion help" ;;
    esac
}

complete -F _mk mk
