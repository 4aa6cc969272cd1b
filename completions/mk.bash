# bash completion for mk; made from the definition of the commands by mk.cli.completions; changes here are lost

# Offers the names of the directories that there are below one of the log directory, or what a Kafka cluster tells in time.
_mk_names() {
    local names name failglob=""
    local -
    if [[ $directory == kafka://* ]]; then
        mapfile -t names < <(
            command mk "$1" -q -d "$directory" ${properties[@]+"${properties[@]}"} -X mk.timeout.ms=1000 2> /dev/null < /dev/null |
                while IFS= read -r name; do [[ $name == "$unquoted"* ]] && echo "$name"; done
        )
    else
        set +o noglob
        shopt -q failglob && failglob=yes && shopt -u failglob
        names=("$directory"/"$1"/"$unquoted"*/)
        [[ -n $failglob ]] && shopt -s failglob
        names=("${names[@]%/}")
    fi
    # Whatever else somebody may have put there must not get onto the command line.
    for name in "${names[@]##*/}"; do
        [[ $name == [A-Za-z0-9_]* && $name != *[^A-Za-z0-9._-]* ]] && COMPREPLY+=("$name")
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
    local offer="" list="" name="" i unquoted here="" properties=()
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
        # Bash breaks a value such as key=value into three words, and one such as kafka://host:port into five.
        while [[ ${COMP_WORDS[i + 1]-} == [=:]* ]]; do
            ((i < COMP_CWORD && i + 2 >= COMP_CWORD)) && return 0
            value+=${COMP_WORDS[i + 1]}${COMP_WORDS[i + 2]-}
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
        "") commands="produce consume tail wait topics groups replicate serve check top completion help" flags="-d --dir -X -q -v --json --no-color --yes --allow-network-fs --timeout --help --version" arguments="" value_flags=" -d --dir -X --timeout " ;;
        "produce") commands="" flags="--file --follow -D --delimiter -0 --null --whole -f --format -J --keep-partition -n --count --skip-bad -k --key -K --key-delimiter -H --header --timestamp -Z -p --partition -z --compression --acks --producer-id --accept-gap --lock-wait --partitions --replication-factor --no-create -d --dir -X --allow-network-fs -T --tee -q -v --json --help" arguments="topic values..." value_flags=" --file --follow -D --delimiter -f --format -n --count -k --key -K --key-delimiter -H --header --timestamp -p --partition -z --compression --acks --producer-id --lock-wait --partitions --replication-factor -d --dir -X " ;;
        "consume") commands="" flags="-r --regex -o --offset --from --to --since --until -p --partition -n --count --tail -F --follow --idle --max-time --timeout -G --grep --merge --reverse --cursor-file -g --group --no-commit --or-skip --on-truncation --session-timeout --exec --batch --jobs --retries --backoff --dlq --no-create --allow-network-fs -f --format -J --json -D --delimiter -0 --null -Z --raw -q -d --dir -X --help" arguments="topics..." value_flags=" -r --regex -o --offset --from --to --since --until -p --partition -n --count --tail --idle --max-time --timeout -G --grep --cursor-file -g --group --on-truncation --session-timeout --exec --batch --jobs --retries --backoff --dlq -f --format -D --delimiter -d --dir -X " ;;
        "tail") commands="" flags="-r --regex -p --partition --tail --idle --max-time --timeout -G --grep --merge -f --format -J --json -D --delimiter -0 --null -Z --raw -q -d --dir -X --help" arguments="topics..." value_flags=" -r --regex -p --partition --tail --idle --max-time --timeout -G --grep -f --format -D --delimiter -d --dir -X " ;;
        "wait") commands="" flags="--records -k --key -G --grep -g --group --lag -o --offset -p --partition --timeout --retry -d --dir -X -q -v --json --help" arguments="topics..." value_flags=" --records -k --key -G --grep -g --group --lag -o --offset -p --partition --timeout -d --dir -X " ;;
        "topics") commands="list create describe alter rename seal delete offsets which get verify dump clean compact trim clone snapshot repair" flags="-r --regex -q -d --dir -X --json --no-color --help" arguments="" value_flags=" -r --regex -d --dir -X " ;;
        "topics list") commands="" flags="-r --regex -q -d --dir -X --json --no-color --help" arguments="" value_flags=" -r --regex -d --dir -X " ;;
        "topics create") commands="" flags="-p --partitions -c --config --if-not-exists --shared-group --shared-readers --replication-factor --dry-run --lock-wait -d --dir -X --allow-network-fs --json -q --help" arguments="topic" value_flags=" -p --partitions -c --config --shared-group --shared-readers --replication-factor --lock-wait -d --dir -X " ;;
        "topics describe") commands="" flags="-r --regex -s --summary -c --configs -p --partitions -a --all -d --dir -X --json --no-color --help" arguments="topics..." value_flags=" -r --regex -d --dir -X " ;;
        "topics alter") commands="" flags="-c --config --unset -p --partitions --dry-run --yes --if-exists --lock-wait -d --dir -X --allow-network-fs --json -q --help" arguments="topic" value_flags=" -c --config --unset -p --partitions --lock-wait -d --dir -X " ;;
        "topics rename") commands="" flags="--dry-run --if-exists --lock-wait -d --dir -X --allow-network-fs --json -q --help" arguments="topic new_name" value_flags=" --lock-wait -d --dir -X " ;;
        "topics seal") commands="" flags="--undo --dry-run --if-exists --lock-wait -d --dir -X --allow-network-fs --json -q --help" arguments="topic" value_flags=" --lock-wait -d --dir -X " ;;
        "topics delete") commands="" flags="-r --regex --dry-run --yes --if-exists --lock-wait -d --dir -X --allow-network-fs --json -q --help" arguments="topics..." value_flags=" -r --regex --lock-wait -d --dir -X " ;;
        "topics offsets") commands="" flags="-p --partition -d --dir -X --json --no-color --help" arguments="topic" value_flags=" -p --partition -d --dir -X " ;;
        "topics which") commands="" flags="-q -d --dir -X --json --no-color --help" arguments="topic keys..." value_flags=" -d --dir -X " ;;
        "topics get") commands="" flags="-p --partition --all-partitions -f --format -J --json -D --delimiter -0 --null --raw -d --dir -X --help" arguments="topic key" value_flags=" -p --partition -f --format -D --delimiter -d --dir -X " ;;
        "topics verify") commands="" flags="-r --regex -p --partition -d --dir -X --json --no-color -q --help" arguments="topics..." value_flags=" -r --regex -p --partition -d --dir -X " ;;
        "topics dump") commands="" flags="-p --partition -o --offset --records -d --dir -X --json --help" arguments="source" value_flags=" -p --partition -o --offset -d --dir -X " ;;
        "topics clean") commands="" flags="-r --regex --dry-run --lock-wait -d --dir -X --allow-network-fs --json --no-color -q --help" arguments="topics..." value_flags=" -r --regex --lock-wait -d --dir -X " ;;
        "topics compact") commands="" flags="-r --regex --dry-run --lock-wait -d --dir -X --allow-network-fs --json --no-color -q --help" arguments="topics..." value_flags=" -r --regex --lock-wait -d --dir -X " ;;
        "topics trim") commands="" flags="--to -p --partition --dry-run --yes --lock-wait -d --dir -X --allow-network-fs --json --no-color -q --help" arguments="topic" value_flags=" --to -p --partition --lock-wait -d --dir -X " ;;
        "topics clone") commands="" flags="--rehash -p --partitions --partitioner --groups --dry-run --lock-wait -d --dir -X --allow-network-fs --json -q --no-color --help" arguments="topic new" value_flags=" -p --partitions --partitioner --lock-wait -d --dir -X " ;;
        "topics snapshot") commands="" flags="--dry-run --lock-wait -d --dir -X --allow-network-fs --json -q --no-color --help" arguments="destination" value_flags=" --lock-wait -d --dir -X " ;;
        "topics repair") commands="" flags="-r --regex -p --partition --restored --dry-run --yes --lock-wait -d --dir -X --allow-network-fs --json -q --help" arguments="topics..." value_flags=" -r --regex -p --partition --lock-wait -d --dir -X " ;;
        "groups") commands="list describe reset seek export import copy delete prune kick undo" flags="-r --regex -q -d --dir -X --json --no-color --help" arguments="" value_flags=" -r --regex -d --dir -X " ;;
        "groups list") commands="" flags="-r --regex -q -d --dir -X --json --no-color --help" arguments="" value_flags=" -r --regex -d --dir -X " ;;
        "groups describe") commands="" flags="-r --regex -s --state -m --members -o --offsets -d --dir -X --json --no-color --help" arguments="groups..." value_flags=" -r --regex -d --dir -X " ;;
        "groups reset") commands="" flags="--to --to-earliest --to-latest --to-offset --to-datetime --by-duration --shift-by --to-current --from-file --topic --all-topics --wait --dry-run --yes --execute --lock-wait -d --dir -X --allow-network-fs --json -q --no-color --help" arguments="group topics..." value_flags=" --to --to-offset --to-datetime --by-duration --shift-by --from-file --topic --wait --lock-wait -d --dir -X " ;;
        "groups seek") commands="" flags="--to --to-earliest --to-latest --to-offset --to-datetime --by-duration --shift-by --to-current --from-file --topic --all-topics --wait --dry-run --yes --execute --lock-wait -d --dir -X --allow-network-fs --json -q --no-color --help" arguments="group topics..." value_flags=" --to --to-offset --to-datetime --by-duration --shift-by --from-file --topic --wait --lock-wait -d --dir -X " ;;
        "groups export") commands="" flags="-r --regex -d --dir -X --json -q --help" arguments="groups..." value_flags=" -r --regex -d --dir -X " ;;
        "groups import") commands="" flags="--wait --dry-run --yes --execute --lock-wait -d --dir -X --allow-network-fs --json -q --no-color --help" arguments="file" value_flags=" --wait --lock-wait -d --dir -X " ;;
        "groups copy") commands="" flags="--wait --dry-run --yes --execute --lock-wait -d --dir -X --allow-network-fs --json -q --no-color --help" arguments="group new_group" value_flags=" --wait --lock-wait -d --dir -X " ;;
        "groups delete") commands="" flags="-r --regex --topic --dry-run --yes --if-exists --lock-wait -d --dir -X --allow-network-fs --json -q --help" arguments="groups..." value_flags=" -r --regex --topic --lock-wait -d --dir -X " ;;
        "groups prune") commands="" flags="-r --regex --idle --dry-run --yes --lock-wait -d --dir -X --allow-network-fs --json -q --help" arguments="groups..." value_flags=" -r --regex --idle --lock-wait -d --dir -X " ;;
        "groups kick") commands="" flags="--dry-run -d --dir -X --allow-network-fs --json -q --help" arguments="group member" value_flags=" -d --dir -X " ;;
        "groups undo") commands="" flags="--force --wait --dry-run --yes --execute --lock-wait -d --dir -X --allow-network-fs --json -q --no-color --help" arguments="group" value_flags=" --wait --lock-wait -d --dir -X " ;;
        "replicate") commands="run status promote salvage" flags="-F --follow --max-time --accept-gap --dry-run --verify --lock-wait --timeout --topics --exclude --groups --no-groups --prefix --advertise -e --rsh -d --dir -X --allow-network-fs --json --no-color -q -v --help" arguments="source target" value_flags=" --max-time --lock-wait --timeout --topics --exclude --prefix --advertise -e --rsh -d --dir -X " ;;
        "replicate run") commands="" flags="-F --follow --max-time --accept-gap --dry-run --verify --lock-wait --timeout --topics --exclude --groups --no-groups --prefix --advertise -e --rsh -d --dir -X --allow-network-fs --json --no-color -q -v --help" arguments="source target" value_flags=" --max-time --lock-wait --timeout --topics --exclude --prefix --advertise -e --rsh -d --dir -X " ;;
        "replicate status") commands="" flags="-r --regex -d --dir -X --json --no-color --help" arguments="topics..." value_flags=" -r --regex -d --dir -X " ;;
        "replicate promote") commands="" flags="-r --regex --dry-run --force --lock-wait -d --dir -X --allow-network-fs --json --no-color -q --help" arguments="topics..." value_flags=" -r --regex --lock-wait -d --dir -X " ;;
        "replicate salvage") commands="" flags="--into --dry-run --yes --lock-wait -e --rsh -d --dir -X --allow-network-fs --json --no-color -q --help" arguments="files..." value_flags=" --into --lock-wait -e --rsh -d --dir -X " ;;
        "serve") commands="" flags="--stdio --root --only -d --dir --help" arguments="" value_flags=" --root --only -d --dir " ;;
        "check") commands="run fs" flags="-g --group -w --warn -c --crit -d --dir -X -q -v --json --prometheus --output --help" arguments="topics..." value_flags=" -g --group -w --warn -c --crit -d --dir -X --output " ;;
        "check run") commands="" flags="-g --group -w --warn -c --crit -d --dir -X -q -v --json --prometheus --output --help" arguments="topics..." value_flags=" -g --group -w --warn -c --crit -d --dir -X --output " ;;
        "check fs") commands="" flags="-d --dir --json --no-color --help" arguments="place" value_flags=" -d --dir " ;;
        "top") commands="" flags="-i --interval -r --regex -d --dir -X --once --json --no-color --help" arguments="" value_flags=" -i --interval -r --regex -d --dir -X " ;;
        "completion") commands="" flags="--help" arguments="shell" value_flags="  " ;;
        "help") commands="" flags="--help" arguments="subject..." value_flags="  " ;;
    esac
}

_mk_values() {
    case $1 in
        ":-d" | ":--dir") list=directory ;;
        ":-X") offer="profile= security.protocol= sasl.mechanism= sasl.username= ssl.ca.location= client.id= partitioner= mk.timeout.ms=" ;;
        "produce:topic") list=topic ;;
        "produce:--file") list=file ;;
        "produce:--follow") list=file ;;
        "produce:-f" | "produce:--format") offer="value kv json raw framed" ;;
        "produce:-z" | "produce:--compression") offer="none gzip lz4 zstd" ;;
        "produce:--acks") offer="0 1 all" ;;
        "produce:-d" | "produce:--dir") list=directory ;;
        "produce:-X") offer="profile= security.protocol= sasl.mechanism= sasl.username= ssl.ca.location= client.id= partitioner= mk.timeout.ms=" ;;
        "consume:topics") list=topic ;;
        "consume:-o" | "consume:--offset") offer="start end" ;;
        "consume:--from") offer="start end" ;;
        "consume:--to") offer="start end" ;;
        "consume:--cursor-file") list=file ;;
        "consume:-g" | "consume:--group") list=consumer-group ;;
        "consume:--on-truncation") offer="back start end fail" ;;
        "consume:--dlq") list=topic ;;
        "consume:-f" | "consume:--format") offer="value kv json raw framed" ;;
        "consume:-d" | "consume:--dir") list=directory ;;
        "consume:-X") offer="profile= security.protocol= sasl.mechanism= sasl.username= ssl.ca.location= client.id= partitioner= mk.timeout.ms=" ;;
        "tail:topics") list=topic ;;
        "tail:-f" | "tail:--format") offer="value kv json raw framed" ;;
        "tail:-d" | "tail:--dir") list=directory ;;
        "tail:-X") offer="profile= security.protocol= sasl.mechanism= sasl.username= ssl.ca.location= client.id= partitioner= mk.timeout.ms=" ;;
        "wait:topics") list=topic ;;
        "wait:-g" | "wait:--group") list=consumer-group ;;
        "wait:-o" | "wait:--offset") offer="start end" ;;
        "wait:-d" | "wait:--dir") list=directory ;;
        "wait:-X") offer="profile= security.protocol= sasl.mechanism= sasl.username= ssl.ca.location= client.id= partitioner= mk.timeout.ms=" ;;
        "topics:-d" | "topics:--dir") list=directory ;;
        "topics:-X") offer="profile= security.protocol= sasl.mechanism= sasl.username= ssl.ca.location= client.id= partitioner= mk.timeout.ms=" ;;
        "topics list:-d" | "topics list:--dir") list=directory ;;
        "topics list:-X") offer="profile= security.protocol= sasl.mechanism= sasl.username= ssl.ca.location= client.id= partitioner= mk.timeout.ms=" ;;
        "topics create:-c" | "topics create:--config") offer="cleanup.policy= compression.type= delete.retention.ms= flush.ms= max.message.bytes= min.cleanable.dirty.ratio= min.compaction.lag.ms= min.free= partitioner= retention.bytes= retention.groups= retention.ms= segment.bytes= segment.ms=" ;;
        "topics create:--shared-group") list=group ;;
        "topics create:--shared-readers") offer="all group" ;;
        "topics create:-d" | "topics create:--dir") list=directory ;;
        "topics create:-X") offer="profile= security.protocol= sasl.mechanism= sasl.username= ssl.ca.location= client.id= partitioner= mk.timeout.ms=" ;;
        "topics describe:topics") list=topic ;;
        "topics describe:-d" | "topics describe:--dir") list=directory ;;
        "topics describe:-X") offer="profile= security.protocol= sasl.mechanism= sasl.username= ssl.ca.location= client.id= partitioner= mk.timeout.ms=" ;;
        "topics alter:topic") list=topic ;;
        "topics alter:-c" | "topics alter:--config") offer="cleanup.policy= compression.type= delete.retention.ms= flush.ms= max.message.bytes= min.cleanable.dirty.ratio= min.compaction.lag.ms= min.free= partitioner= retention.bytes= retention.groups= retention.ms= segment.bytes= segment.ms=" ;;
        "topics alter:--unset") offer="cleanup.policy compression.type delete.retention.ms flush.ms max.message.bytes min.cleanable.dirty.ratio min.compaction.lag.ms min.free partitioner retention.bytes retention.groups retention.ms segment.bytes segment.ms" ;;
        "topics alter:-d" | "topics alter:--dir") list=directory ;;
        "topics alter:-X") offer="profile= security.protocol= sasl.mechanism= sasl.username= ssl.ca.location= client.id= partitioner= mk.timeout.ms=" ;;
        "topics rename:topic") list=topic ;;
        "topics rename:-d" | "topics rename:--dir") list=directory ;;
        "topics rename:-X") offer="profile= security.protocol= sasl.mechanism= sasl.username= ssl.ca.location= client.id= partitioner= mk.timeout.ms=" ;;
        "topics seal:topic") list=topic ;;
        "topics seal:-d" | "topics seal:--dir") list=directory ;;
        "topics seal:-X") offer="profile= security.protocol= sasl.mechanism= sasl.username= ssl.ca.location= client.id= partitioner= mk.timeout.ms=" ;;
        "topics delete:topics") list=topic ;;
        "topics delete:-d" | "topics delete:--dir") list=directory ;;
        "topics delete:-X") offer="profile= security.protocol= sasl.mechanism= sasl.username= ssl.ca.location= client.id= partitioner= mk.timeout.ms=" ;;
        "topics offsets:topic") list=topic ;;
        "topics offsets:-d" | "topics offsets:--dir") list=directory ;;
        "topics offsets:-X") offer="profile= security.protocol= sasl.mechanism= sasl.username= ssl.ca.location= client.id= partitioner= mk.timeout.ms=" ;;
        "topics which:topic") list=topic ;;
        "topics which:-d" | "topics which:--dir") list=directory ;;
        "topics which:-X") offer="profile= security.protocol= sasl.mechanism= sasl.username= ssl.ca.location= client.id= partitioner= mk.timeout.ms=" ;;
        "topics get:topic") list=topic ;;
        "topics get:-f" | "topics get:--format") offer="value kv json raw framed" ;;
        "topics get:-d" | "topics get:--dir") list=directory ;;
        "topics get:-X") offer="profile= security.protocol= sasl.mechanism= sasl.username= ssl.ca.location= client.id= partitioner= mk.timeout.ms=" ;;
        "topics verify:topics") list=topic ;;
        "topics verify:-d" | "topics verify:--dir") list=directory ;;
        "topics verify:-X") offer="profile= security.protocol= sasl.mechanism= sasl.username= ssl.ca.location= client.id= partitioner= mk.timeout.ms=" ;;
        "topics dump:source") list=topic ;;
        "topics dump:-d" | "topics dump:--dir") list=directory ;;
        "topics dump:-X") offer="profile= security.protocol= sasl.mechanism= sasl.username= ssl.ca.location= client.id= partitioner= mk.timeout.ms=" ;;
        "topics clean:topics") list=topic ;;
        "topics clean:-d" | "topics clean:--dir") list=directory ;;
        "topics clean:-X") offer="profile= security.protocol= sasl.mechanism= sasl.username= ssl.ca.location= client.id= partitioner= mk.timeout.ms=" ;;
        "topics compact:topics") list=topic ;;
        "topics compact:-d" | "topics compact:--dir") list=directory ;;
        "topics compact:-X") offer="profile= security.protocol= sasl.mechanism= sasl.username= ssl.ca.location= client.id= partitioner= mk.timeout.ms=" ;;
        "topics trim:topic") list=topic ;;
        "topics trim:--to") offer="start end" ;;
        "topics trim:-d" | "topics trim:--dir") list=directory ;;
        "topics trim:-X") offer="profile= security.protocol= sasl.mechanism= sasl.username= ssl.ca.location= client.id= partitioner= mk.timeout.ms=" ;;
        "topics clone:topic") list=topic ;;
        "topics clone:--partitioner") offer="crc32 murmur2" ;;
        "topics clone:-d" | "topics clone:--dir") list=directory ;;
        "topics clone:-X") offer="profile= security.protocol= sasl.mechanism= sasl.username= ssl.ca.location= client.id= partitioner= mk.timeout.ms=" ;;
        "topics snapshot:destination") list=directory ;;
        "topics snapshot:-d" | "topics snapshot:--dir") list=directory ;;
        "topics snapshot:-X") offer="profile= security.protocol= sasl.mechanism= sasl.username= ssl.ca.location= client.id= partitioner= mk.timeout.ms=" ;;
        "topics repair:topics") list=topic ;;
        "topics repair:-d" | "topics repair:--dir") list=directory ;;
        "topics repair:-X") offer="profile= security.protocol= sasl.mechanism= sasl.username= ssl.ca.location= client.id= partitioner= mk.timeout.ms=" ;;
        "groups:-d" | "groups:--dir") list=directory ;;
        "groups:-X") offer="profile= security.protocol= sasl.mechanism= sasl.username= ssl.ca.location= client.id= partitioner= mk.timeout.ms=" ;;
        "groups list:-d" | "groups list:--dir") list=directory ;;
        "groups list:-X") offer="profile= security.protocol= sasl.mechanism= sasl.username= ssl.ca.location= client.id= partitioner= mk.timeout.ms=" ;;
        "groups describe:groups") list=consumer-group ;;
        "groups describe:-d" | "groups describe:--dir") list=directory ;;
        "groups describe:-X") offer="profile= security.protocol= sasl.mechanism= sasl.username= ssl.ca.location= client.id= partitioner= mk.timeout.ms=" ;;
        "groups reset:group") list=consumer-group ;;
        "groups reset:topics") list=topic ;;
        "groups reset:--to") offer="start end" ;;
        "groups reset:--from-file") list=file ;;
        "groups reset:--topic") list=topic ;;
        "groups reset:-d" | "groups reset:--dir") list=directory ;;
        "groups reset:-X") offer="profile= security.protocol= sasl.mechanism= sasl.username= ssl.ca.location= client.id= partitioner= mk.timeout.ms=" ;;
        "groups seek:group") list=consumer-group ;;
        "groups seek:topics") list=topic ;;
        "groups seek:--to") offer="start end" ;;
        "groups seek:--from-file") list=file ;;
        "groups seek:--topic") list=topic ;;
        "groups seek:-d" | "groups seek:--dir") list=directory ;;
        "groups seek:-X") offer="profile= security.protocol= sasl.mechanism= sasl.username= ssl.ca.location= client.id= partitioner= mk.timeout.ms=" ;;
        "groups export:groups") list=consumer-group ;;
        "groups export:-d" | "groups export:--dir") list=directory ;;
        "groups export:-X") offer="profile= security.protocol= sasl.mechanism= sasl.username= ssl.ca.location= client.id= partitioner= mk.timeout.ms=" ;;
        "groups import:file") list=file ;;
        "groups import:-d" | "groups import:--dir") list=directory ;;
        "groups import:-X") offer="profile= security.protocol= sasl.mechanism= sasl.username= ssl.ca.location= client.id= partitioner= mk.timeout.ms=" ;;
        "groups copy:group") list=consumer-group ;;
        "groups copy:new_group") list=consumer-group ;;
        "groups copy:-d" | "groups copy:--dir") list=directory ;;
        "groups copy:-X") offer="profile= security.protocol= sasl.mechanism= sasl.username= ssl.ca.location= client.id= partitioner= mk.timeout.ms=" ;;
        "groups delete:groups") list=consumer-group ;;
        "groups delete:--topic") list=topic ;;
        "groups delete:-d" | "groups delete:--dir") list=directory ;;
        "groups delete:-X") offer="profile= security.protocol= sasl.mechanism= sasl.username= ssl.ca.location= client.id= partitioner= mk.timeout.ms=" ;;
        "groups prune:groups") list=consumer-group ;;
        "groups prune:-d" | "groups prune:--dir") list=directory ;;
        "groups prune:-X") offer="profile= security.protocol= sasl.mechanism= sasl.username= ssl.ca.location= client.id= partitioner= mk.timeout.ms=" ;;
        "groups kick:group") list=consumer-group ;;
        "groups kick:-d" | "groups kick:--dir") list=directory ;;
        "groups kick:-X") offer="profile= security.protocol= sasl.mechanism= sasl.username= ssl.ca.location= client.id= partitioner= mk.timeout.ms=" ;;
        "groups undo:group") list=consumer-group ;;
        "groups undo:-d" | "groups undo:--dir") list=directory ;;
        "groups undo:-X") offer="profile= security.protocol= sasl.mechanism= sasl.username= ssl.ca.location= client.id= partitioner= mk.timeout.ms=" ;;
        "replicate:source") list=directory ;;
        "replicate:target") list=directory ;;
        "replicate:-d" | "replicate:--dir") list=directory ;;
        "replicate:-X") offer="profile= security.protocol= sasl.mechanism= sasl.username= ssl.ca.location= client.id= partitioner= mk.timeout.ms=" ;;
        "replicate run:source") list=directory ;;
        "replicate run:target") list=directory ;;
        "replicate run:-d" | "replicate run:--dir") list=directory ;;
        "replicate run:-X") offer="profile= security.protocol= sasl.mechanism= sasl.username= ssl.ca.location= client.id= partitioner= mk.timeout.ms=" ;;
        "replicate status:topics") list=topic ;;
        "replicate status:-d" | "replicate status:--dir") list=directory ;;
        "replicate status:-X") offer="profile= security.protocol= sasl.mechanism= sasl.username= ssl.ca.location= client.id= partitioner= mk.timeout.ms=" ;;
        "replicate promote:topics") list=topic ;;
        "replicate promote:-d" | "replicate promote:--dir") list=directory ;;
        "replicate promote:-X") offer="profile= security.protocol= sasl.mechanism= sasl.username= ssl.ca.location= client.id= partitioner= mk.timeout.ms=" ;;
        "replicate salvage:files") list=file ;;
        "replicate salvage:--into") list=directory ;;
        "replicate salvage:-d" | "replicate salvage:--dir") list=directory ;;
        "replicate salvage:-X") offer="profile= security.protocol= sasl.mechanism= sasl.username= ssl.ca.location= client.id= partitioner= mk.timeout.ms=" ;;
        "serve:--root") list=directory ;;
        "serve:-d" | "serve:--dir") list=directory ;;
        "check:topics") list=topic ;;
        "check:-g" | "check:--group") list=consumer-group ;;
        "check:-w" | "check:--warn") offer="clock= damage= dead-members= disk-free= failed= future= idle= lag= members= missed= partition-lag= quarantine= replica-age= replica-lag= reserve= stale-members=" ;;
        "check:-c" | "check:--crit") offer="clock= damage= dead-members= disk-free= failed= future= idle= lag= members= missed= partition-lag= quarantine= replica-age= replica-lag= reserve= stale-members=" ;;
        "check:-d" | "check:--dir") list=directory ;;
        "check:-X") offer="profile= security.protocol= sasl.mechanism= sasl.username= ssl.ca.location= client.id= partitioner= mk.timeout.ms=" ;;
        "check:--output") list=file ;;
        "check run:topics") list=topic ;;
        "check run:-g" | "check run:--group") list=consumer-group ;;
        "check run:-w" | "check run:--warn") offer="clock= damage= dead-members= disk-free= failed= future= idle= lag= members= missed= partition-lag= quarantine= replica-age= replica-lag= reserve= stale-members=" ;;
        "check run:-c" | "check run:--crit") offer="clock= damage= dead-members= disk-free= failed= future= idle= lag= members= missed= partition-lag= quarantine= replica-age= replica-lag= reserve= stale-members=" ;;
        "check run:-d" | "check run:--dir") list=directory ;;
        "check run:-X") offer="profile= security.protocol= sasl.mechanism= sasl.username= ssl.ca.location= client.id= partitioner= mk.timeout.ms=" ;;
        "check run:--output") list=file ;;
        "check fs:place") list=directory ;;
        "check fs:-d" | "check fs:--dir") list=directory ;;
        "top:-d" | "top:--dir") list=directory ;;
        "top:-X") offer="profile= security.protocol= sasl.mechanism= sasl.username= ssl.ca.location= client.id= partitioner= mk.timeout.ms=" ;;
        "completion:shell") offer="bash zsh fish" ;;
        "help:subject") offer="offsets formats exec compaction thresholds replication kafka cron exit-codes produce consume tail wait topics groups replicate serve check top completion help" ;;
    esac
}

complete -F _mk mk
