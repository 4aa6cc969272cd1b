# bash completion for mk; made from the definition of the commands by mk.cli.completions; changes here are lost

# Offers the names of the directories that there are below one of the log directory.
_mk_names() {
    local names name failglob=""
    local -
    set +o noglob
    shopt -q failglob && failglob=yes && shopt -u failglob
    names=("$directory"/"$1"/"$unquoted"*/)
    [[ -n $failglob ]] && shopt -s failglob
    names=("${names[@]%/}")
    # Whatever else somebody may have put there must not get onto the command line.
    for name in "${names[@]##*/}"; do
        [[ $name == [A-Za-z0-9]* && $name != *[^A-Za-z0-9._-]* ]] && COMPREPLY+=("$name")
    done
}

# Sets `unquoted` to what bash will make of a word: without quotes, with ~ and variables; no command is run.
_mk_unquote() {
    local word=$1 quote="" letter name i
    unquoted=""
    [[ $word == "~" || $word == "~/"* ]] && unquoted=$HOME word=${word:1}
    for ((i = 0; i < ${#word}; i++)); do
        letter=${word:i:1}
        if [[ $letter == "'" && $quote != '"' ]]; then
            [[ -n $quote ]] && quote="" || quote=$letter
        elif [[ $quote == "'" ]]; then
            unquoted+=$letter
        elif [[ $letter == '"' ]]; then
            [[ -n $quote ]] && quote="" || quote=$letter
        elif [[ $letter == \\ ]]; then
            ((i++))
            unquoted+=${word:i:1}
        elif [[ $letter == '$' && ${word:i + 1} =~ ^\{?([A-Za-z_][A-Za-z_0-9]*)\}? ]]; then
            name=${BASH_REMATCH[1]}
            unquoted+=${!name}
            ((i += ${#BASH_REMATCH[0]}))
        else
            unquoted+=$letter
        fi
    done
}

_mk() {
    local cur=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]}
    local directory=${MK_DIR:-${XDG_DATA_HOME:-$HOME/.local/share}/mk}
    local path="" value_flags="" position=0 plain="" word value letters commands="" flags="" arguments=""
    local offer="" list="" name="" i unquoted here=""
    COMPREPLY=()

    # Where are we: the command so far, the number of arguments so far, the log directory, which may be named behind us.
    _mk_level "$path"
    for ((i = 1; i < ${#COMP_WORDS[@]}; i++)); do
        [[ $i == "$COMP_CWORD" ]] && here="$path:$position:$plain"
        word=${COMP_WORDS[i]}
        value=""
        if [[ -n $plain || $word != -?* ]]; then
            if [[ -z $plain && " $commands " == *" $word "* && -n $word ]]; then
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
        else
            # Short flags may be joined, and the last one with its value.
            letters=${word#-}
            while [[ -n $letters && $value_flags != *" -${letters:0:1} "* ]]; do letters=${letters:1}; done
            [[ -n $letters ]] || continue
            word=-${letters:0:1}
            value=${letters:1}
        fi
        if [[ -z $value ]]; then
            ((i < COMP_CWORD && i + 1 >= COMP_CWORD)) && here="$path:$position:$plain"
            value=${COMP_WORDS[++i]}
        fi
        # Bash breaks a value such as key=value into three words.
        [[ ${COMP_WORDS[i + 1]} == = && $((i + 2)) -lt $COMP_CWORD ]] && ((i += 2))
        if [[ $word == -d || $word == --dir ]]; then
            _mk_unquote "$value"
            [[ -n $unquoted ]] && directory=$unquoted
        fi
        # Bash breaks a value such as key=value into three words.
        [[ ${COMP_WORDS[i + 1]} == = && $((i + 2)) -lt $COMP_CWORD ]] && ((i += 2))
    done
    IFS=: read -r path position plain <<< "$here"
    _mk_level "$path"

    # Bash breaks --flag=value into three words.
    if [[ $cur == = ]]; then
        cur=""
    elif [[ $previous == = ]]; then
        previous=${COMP_WORDS[COMP_CWORD - 2]}
    fi

    if [[ -z $plain && $previous == -* && $value_flags == *" $previous "* ]]; then
        name=$previous
    elif [[ -z $plain && $cur == -* ]]; then
        mapfile -t COMPREPLY < <(compgen -W "$flags" -- "$cur")
        return
    else
        [[ $position == 0 ]] && mapfile -t COMPREPLY < <(compgen -W "$commands" -- "$cur")
        for word in $arguments; do
            name=${word%...}
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
}

_mk_level() {
    commands="" flags="" arguments="" value_flags=""
    case $1 in
        "") commands="produce consume tail topics groups replicate serve check completion help" flags="-d --dir -q -v --json --no-color --yes --allow-network-fs --timeout --help --version" arguments="" value_flags=" -d --dir --timeout " ;;
        "produce") commands="" flags="--file --follow -D --delimiter -0 --null --whole -f --format -J --keep-partition -n --count --skip-bad -k --key -K --key-delimiter -H --header --timestamp -Z -p --partition -z --compression --acks --producer-id --accept-gap --lock-wait --partitions --no-create -d --dir --allow-network-fs -T --tee -q -v --json --help" arguments="topic values..." value_flags=" --file --follow -D --delimiter -f --format -n --count -k --key -K --key-delimiter -H --header --timestamp -p --partition -z --compression --acks --producer-id --lock-wait --partitions -d --dir " ;;
        "consume") commands="" flags="-r --regex -o --offset --from --to --since --until -p --partition -n --count --tail -F --follow --idle --max-time --timeout -G --grep --merge --reverse --cursor-file -g --group --no-commit --or-skip --on-truncation --session-timeout --exec --batch --jobs --retries --backoff --dlq --no-create --allow-network-fs -f --format -J --json -D --delimiter -0 --null -Z --raw -q -d --dir --help" arguments="topics..." value_flags=" -r --regex -o --offset --from --to --since --until -p --partition -n --count --tail --idle --max-time --timeout -G --grep --cursor-file -g --group --on-truncation --session-timeout --exec --batch --jobs --retries --backoff --dlq -f --format -D --delimiter -d --dir " ;;
        "tail") commands="" flags="-r --regex -p --partition --tail --idle --max-time --timeout -G --grep --merge -f --format -J --json -D --delimiter -0 --null -Z --raw -q -d --dir --help" arguments="topics..." value_flags=" -r --regex -p --partition --tail --idle --max-time --timeout -G --grep -f --format -D --delimiter -d --dir " ;;
        "topics") commands="list create describe alter rename seal delete offsets which get verify dump clean compact trim clone snapshot repair" flags="-r --regex -q -d --dir --json --no-color --help" arguments="" value_flags=" -r --regex -d --dir " ;;
        "topics list") commands="" flags="-r --regex -q -d --dir --json --no-color --help" arguments="" value_flags=" -r --regex -d --dir " ;;
        "topics create") commands="" flags="-p --partitions -c --config --if-not-exists --shared-group --shared-readers --dry-run --lock-wait -d --dir --allow-network-fs --json -q --help" arguments="topic" value_flags=" -p --partitions -c --config --shared-group --shared-readers --lock-wait -d --dir " ;;
        "topics describe") commands="" flags="-r --regex -s --summary -c --configs -p --partitions -a --all -d --dir --json --no-color --help" arguments="topics..." value_flags=" -r --regex -d --dir " ;;
        "topics alter") commands="" flags="-c --config --unset -p --partitions --dry-run --yes --if-exists --lock-wait -d --dir --allow-network-fs --json -q --help" arguments="topic" value_flags=" -c --config --unset -p --partitions --lock-wait -d --dir " ;;
        "topics rename") commands="" flags="--dry-run --if-exists --lock-wait -d --dir --allow-network-fs --json -q --help" arguments="topic new_name" value_flags=" --lock-wait -d --dir " ;;
        "topics seal") commands="" flags="--undo --dry-run --if-exists --lock-wait -d --dir --allow-network-fs --json -q --help" arguments="topic" value_flags=" --lock-wait -d --dir " ;;
        "topics delete") commands="" flags="-r --regex --dry-run --yes --if-exists --lock-wait -d --dir --allow-network-fs --json -q --help" arguments="topics..." value_flags=" -r --regex --lock-wait -d --dir " ;;
        "topics offsets") commands="" flags="-p --partition -d --dir --json --no-color --help" arguments="topic" value_flags=" -p --partition -d --dir " ;;
        "topics which") commands="" flags="-q -d --dir --json --no-color --help" arguments="topic keys..." value_flags=" -d --dir " ;;
        "topics get") commands="" flags="-p --partition --all-partitions -f --format -J --json -D --delimiter -0 --null --raw -d --dir --help" arguments="topic key" value_flags=" -p --partition -f --format -D --delimiter -d --dir " ;;
        "topics verify") commands="" flags="-r --regex -p --partition -d --dir --json --no-color -q --help" arguments="topics..." value_flags=" -r --regex -p --partition -d --dir " ;;
        "topics dump") commands="" flags="-p --partition -o --offset --records -d --dir --json --help" arguments="source" value_flags=" -p --partition -o --offset -d --dir " ;;
        "topics clean") commands="" flags="-r --regex --dry-run --lock-wait -d --dir --allow-network-fs --json --no-color -q --help" arguments="topics..." value_flags=" -r --regex --lock-wait -d --dir " ;;
        "topics compact") commands="" flags="-r --regex --dry-run --lock-wait -d --dir --allow-network-fs --json --no-color -q --help" arguments="topics..." value_flags=" -r --regex --lock-wait -d --dir " ;;
        "topics trim") commands="" flags="--to -p --partition --dry-run --yes --lock-wait -d --dir --allow-network-fs --json --no-color -q --help" arguments="topic" value_flags=" --to -p --partition --lock-wait -d --dir " ;;
        "topics clone") commands="" flags="--rehash -p --partitions --partitioner --groups --dry-run --lock-wait -d --dir --allow-network-fs --json -q --no-color --help" arguments="topic new" value_flags=" -p --partitions --partitioner --lock-wait -d --dir " ;;
        "topics snapshot") commands="" flags="--dry-run --lock-wait -d --dir --allow-network-fs --json -q --no-color --help" arguments="destination" value_flags=" --lock-wait -d --dir " ;;
        "topics repair") commands="" flags="-r --regex -p --partition --restored --dry-run --yes --lock-wait -d --dir --allow-network-fs --json -q --help" arguments="topics..." value_flags=" -r --regex -p --partition --lock-wait -d --dir " ;;
        "groups") commands="list describe reset seek export import copy delete prune kick undo" flags="-r --regex -q -d --dir --json --no-color --help" arguments="" value_flags=" -r --regex -d --dir " ;;
        "groups list") commands="" flags="-r --regex -q -d --dir --json --no-color --help" arguments="" value_flags=" -r --regex -d --dir " ;;
        "groups describe") commands="" flags="-r --regex -s --state -m --members -o --offsets -d --dir --json --no-color --help" arguments="groups..." value_flags=" -r --regex -d --dir " ;;
        "groups reset") commands="" flags="--to --to-earliest --to-latest --to-offset --to-datetime --by-duration --shift-by --to-current --from-file --topic --all-topics --wait --dry-run --yes --execute --lock-wait -d --dir --allow-network-fs --json -q --no-color --help" arguments="group topics..." value_flags=" --to --to-offset --to-datetime --by-duration --shift-by --from-file --topic --wait --lock-wait -d --dir " ;;
        "groups seek") commands="" flags="--to --to-earliest --to-latest --to-offset --to-datetime --by-duration --shift-by --to-current --from-file --topic --all-topics --wait --dry-run --yes --execute --lock-wait -d --dir --allow-network-fs --json -q --no-color --help" arguments="group topics..." value_flags=" --to --to-offset --to-datetime --by-duration --shift-by --from-file --topic --wait --lock-wait -d --dir " ;;
        "groups export") commands="" flags="-r --regex -d --dir --json -q --help" arguments="groups..." value_flags=" -r --regex -d --dir " ;;
        "groups import") commands="" flags="--wait --dry-run --yes --execute --lock-wait -d --dir --allow-network-fs --json -q --no-color --help" arguments="file" value_flags=" --wait --lock-wait -d --dir " ;;
        "groups copy") commands="" flags="--wait --dry-run --yes --execute --lock-wait -d --dir --allow-network-fs --json -q --no-color --help" arguments="group new_group" value_flags=" --wait --lock-wait -d --dir " ;;
        "groups delete") commands="" flags="-r --regex --topic --dry-run --yes --if-exists --lock-wait -d --dir --allow-network-fs --json -q --help" arguments="groups..." value_flags=" -r --regex --topic --lock-wait -d --dir " ;;
        "groups prune") commands="" flags="-r --regex --idle --dry-run --yes --lock-wait -d --dir --allow-network-fs --json -q --help" arguments="groups..." value_flags=" -r --regex --idle --lock-wait -d --dir " ;;
        "groups kick") commands="" flags="--dry-run -d --dir --allow-network-fs --json -q --help" arguments="group member" value_flags=" -d --dir " ;;
        "groups undo") commands="" flags="--force --wait --dry-run --yes --execute --lock-wait -d --dir --allow-network-fs --json -q --no-color --help" arguments="group" value_flags=" --wait --lock-wait -d --dir " ;;
        "replicate") commands="run status promote salvage" flags="-F --follow --max-time --accept-gap --dry-run --verify --lock-wait --timeout --topics --exclude --groups --no-groups --prefix --advertise -e --rsh -d --dir --allow-network-fs --json --no-color -q -v --help" arguments="source target" value_flags=" --max-time --lock-wait --timeout --topics --exclude --prefix --advertise -e --rsh -d --dir " ;;
        "replicate run") commands="" flags="-F --follow --max-time --accept-gap --dry-run --verify --lock-wait --timeout --topics --exclude --groups --no-groups --prefix --advertise -e --rsh -d --dir --allow-network-fs --json --no-color -q -v --help" arguments="source target" value_flags=" --max-time --lock-wait --timeout --topics --exclude --prefix --advertise -e --rsh -d --dir " ;;
        "replicate status") commands="" flags="-r --regex -d --dir --json --no-color --help" arguments="topics..." value_flags=" -r --regex -d --dir " ;;
        "replicate promote") commands="" flags="-r --regex --dry-run --force --lock-wait -d --dir --allow-network-fs --json --no-color -q --help" arguments="topics..." value_flags=" -r --regex --lock-wait -d --dir " ;;
        "replicate salvage") commands="" flags="--into --dry-run --yes --lock-wait -e --rsh -d --dir --allow-network-fs --json --no-color -q --help" arguments="files..." value_flags=" --into --lock-wait -e --rsh -d --dir " ;;
        "serve") commands="" flags="--stdio --root --only -d --dir --help" arguments="" value_flags=" --root --only -d --dir " ;;
        "check") commands="run fs" flags="-g --group -w --warn -c --crit -d --dir -q -v --json --prometheus --output --help" arguments="topics..." value_flags=" -g --group -w --warn -c --crit -d --dir --output " ;;
        "check run") commands="" flags="-g --group -w --warn -c --crit -d --dir -q -v --json --prometheus --output --help" arguments="topics..." value_flags=" -g --group -w --warn -c --crit -d --dir --output " ;;
        "check fs") commands="" flags="-d --dir --json --no-color --help" arguments="place" value_flags=" -d --dir " ;;
        "completion") commands="" flags="--help" arguments="shell" value_flags="  " ;;
        "help") commands="" flags="--help" arguments="subject..." value_flags="  " ;;
    esac
}

_mk_values() {
    case $1 in
        ":-d" | ":--dir") list=directory ;;
        "produce:topic") list=topic ;;
        "produce:--file") list=file ;;
        "produce:--follow") list=file ;;
        "produce:-f" | "produce:--format") offer="value kv json raw framed" ;;
        "produce:-z" | "produce:--compression") offer="none gzip lz4 zstd" ;;
        "produce:--acks") offer="0 1" ;;
        "produce:-d" | "produce:--dir") list=directory ;;
        "consume:topics") list=topic ;;
        "consume:-o" | "consume:--offset") offer="start end" ;;
        "consume:--from") offer="start end" ;;
        "consume:--to") offer="start end" ;;
        "consume:--cursor-file") list=file ;;
        "consume:--on-truncation") offer="back start end fail" ;;
        "consume:--dlq") list=topic ;;
        "consume:-f" | "consume:--format") offer="value kv json raw framed" ;;
        "consume:-d" | "consume:--dir") list=directory ;;
        "tail:topics") list=topic ;;
        "tail:-f" | "tail:--format") offer="value kv json raw framed" ;;
        "tail:-d" | "tail:--dir") list=directory ;;
        "topics:-d" | "topics:--dir") list=directory ;;
        "topics list:-d" | "topics list:--dir") list=directory ;;
        "topics create:-c" | "topics create:--config") offer="cleanup.policy= compression.type= delete.retention.ms= flush.ms= max.message.bytes= min.cleanable.dirty.ratio= min.compaction.lag.ms= min.free= partitioner= retention.bytes= retention.groups= retention.ms= segment.bytes= segment.ms=" ;;
        "topics create:--shared-group") list=group ;;
        "topics create:--shared-readers") offer="all group" ;;
        "topics create:-d" | "topics create:--dir") list=directory ;;
        "topics describe:topics") list=topic ;;
        "topics describe:-d" | "topics describe:--dir") list=directory ;;
        "topics alter:topic") list=topic ;;
        "topics alter:-c" | "topics alter:--config") offer="cleanup.policy= compression.type= delete.retention.ms= flush.ms= max.message.bytes= min.cleanable.dirty.ratio= min.compaction.lag.ms= min.free= partitioner= retention.bytes= retention.groups= retention.ms= segment.bytes= segment.ms=" ;;
        "topics alter:--unset") offer="cleanup.policy compression.type delete.retention.ms flush.ms max.message.bytes min.cleanable.dirty.ratio min.compaction.lag.ms min.free partitioner retention.bytes retention.groups retention.ms segment.bytes segment.ms" ;;
        "topics alter:-d" | "topics alter:--dir") list=directory ;;
        "topics rename:topic") list=topic ;;
        "topics rename:-d" | "topics rename:--dir") list=directory ;;
        "topics seal:topic") list=topic ;;
        "topics seal:-d" | "topics seal:--dir") list=directory ;;
        "topics delete:topics") list=topic ;;
        "topics delete:-d" | "topics delete:--dir") list=directory ;;
        "topics offsets:topic") list=topic ;;
        "topics offsets:-d" | "topics offsets:--dir") list=directory ;;
        "topics which:topic") list=topic ;;
        "topics which:-d" | "topics which:--dir") list=directory ;;
        "topics get:topic") list=topic ;;
        "topics get:-f" | "topics get:--format") offer="value kv json raw framed" ;;
        "topics get:-d" | "topics get:--dir") list=directory ;;
        "topics verify:topics") list=topic ;;
        "topics verify:-d" | "topics verify:--dir") list=directory ;;
        "topics dump:source") list=topic ;;
        "topics dump:-d" | "topics dump:--dir") list=directory ;;
        "topics clean:topics") list=topic ;;
        "topics clean:-d" | "topics clean:--dir") list=directory ;;
        "topics compact:topics") list=topic ;;
        "topics compact:-d" | "topics compact:--dir") list=directory ;;
        "topics trim:topic") list=topic ;;
        "topics trim:--to") offer="start end" ;;
        "topics trim:-d" | "topics trim:--dir") list=directory ;;
        "topics clone:topic") list=topic ;;
        "topics clone:--partitioner") offer="crc32 murmur2" ;;
        "topics clone:-d" | "topics clone:--dir") list=directory ;;
        "topics snapshot:destination") list=directory ;;
        "topics snapshot:-d" | "topics snapshot:--dir") list=directory ;;
        "topics repair:topics") list=topic ;;
        "topics repair:-d" | "topics repair:--dir") list=directory ;;
        "groups:-d" | "groups:--dir") list=directory ;;
        "groups list:-d" | "groups list:--dir") list=directory ;;
        "groups describe:groups") list=consumer-group ;;
        "groups describe:-d" | "groups describe:--dir") list=directory ;;
        "groups reset:group") list=consumer-group ;;
        "groups reset:topics") list=topic ;;
        "groups reset:--to") offer="start end" ;;
        "groups reset:--from-file") list=file ;;
        "groups reset:--topic") list=topic ;;
        "groups reset:-d" | "groups reset:--dir") list=directory ;;
        "groups seek:group") list=consumer-group ;;
        "groups seek:topics") list=topic ;;
        "groups seek:--to") offer="start end" ;;
        "groups seek:--from-file") list=file ;;
        "groups seek:--topic") list=topic ;;
        "groups seek:-d" | "groups seek:--dir") list=directory ;;
        "groups export:groups") list=consumer-group ;;
        "groups export:-d" | "groups export:--dir") list=directory ;;
        "groups import:file") list=file ;;
        "groups import:-d" | "groups import:--dir") list=directory ;;
        "groups copy:group") list=consumer-group ;;
        "groups copy:new_group") list=consumer-group ;;
        "groups copy:-d" | "groups copy:--dir") list=directory ;;
        "groups delete:groups") list=consumer-group ;;
        "groups delete:--topic") list=topic ;;
        "groups delete:-d" | "groups delete:--dir") list=directory ;;
        "groups prune:groups") list=consumer-group ;;
        "groups prune:-d" | "groups prune:--dir") list=directory ;;
        "groups kick:group") list=consumer-group ;;
        "groups kick:-d" | "groups kick:--dir") list=directory ;;
        "groups undo:group") list=consumer-group ;;
        "groups undo:-d" | "groups undo:--dir") list=directory ;;
        "replicate:source") list=directory ;;
        "replicate:target") list=directory ;;
        "replicate:-d" | "replicate:--dir") list=directory ;;
        "replicate run:source") list=directory ;;
        "replicate run:target") list=directory ;;
        "replicate run:-d" | "replicate run:--dir") list=directory ;;
        "replicate status:topics") list=topic ;;
        "replicate status:-d" | "replicate status:--dir") list=directory ;;
        "replicate promote:topics") list=topic ;;
        "replicate promote:-d" | "replicate promote:--dir") list=directory ;;
        "replicate salvage:files") list=file ;;
        "replicate salvage:--into") list=directory ;;
        "replicate salvage:-d" | "replicate salvage:--dir") list=directory ;;
        "serve:--root") list=directory ;;
        "serve:-d" | "serve:--dir") list=directory ;;
        "check:topics") list=topic ;;
        "check:-g" | "check:--group") list=consumer-group ;;
        "check:-w" | "check:--warn") offer="clock= damage= dead-members= disk-free= failed= future= idle= lag= members= missed= partition-lag= quarantine= replica-age= replica-lag= reserve= stale-members=" ;;
        "check:-c" | "check:--crit") offer="clock= damage= dead-members= disk-free= failed= future= idle= lag= members= missed= partition-lag= quarantine= replica-age= replica-lag= reserve= stale-members=" ;;
        "check:-d" | "check:--dir") list=directory ;;
        "check:--output") list=file ;;
        "check run:topics") list=topic ;;
        "check run:-g" | "check run:--group") list=consumer-group ;;
        "check run:-w" | "check run:--warn") offer="clock= damage= dead-members= disk-free= failed= future= idle= lag= members= missed= partition-lag= quarantine= replica-age= replica-lag= reserve= stale-members=" ;;
        "check run:-c" | "check run:--crit") offer="clock= damage= dead-members= disk-free= failed= future= idle= lag= members= missed= partition-lag= quarantine= replica-age= replica-lag= reserve= stale-members=" ;;
        "check run:-d" | "check run:--dir") list=directory ;;
        "check run:--output") list=file ;;
        "check fs:place") list=directory ;;
        "check fs:-d" | "check fs:--dir") list=directory ;;
        "completion:shell") offer="bash zsh fish" ;;
        "help:subject") offer="offsets formats exec compaction thresholds exit-codes produce consume tail topics groups replicate serve check completion help" ;;
    esac
}

complete -F _mk mk
