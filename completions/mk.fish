# fish completion for mk; made from the definition of the commands by mk.cli.completions; changes here are lost

# Prints a word with a ~ or a variable at its front replaced.
function __mk_expand
    set -l parts (string match -r '^\$([A-Za-z_][A-Za-z_0-9]*)(/.*)?$' -- $argv[1])
    and echo $$parts[2]$parts[3]
    or string replace -r '^~(?=/|$)' $HOME -- $argv[1]
end

# Prints the flags of a command that take a value, a line each.
function __mk_value_flags
    switch (string join ' ' '' $argv | string trim)
        case ''
            string split ' ' -- '-d --dir --timeout'
        case 'produce'
            string split ' ' -- '--file -D --delimiter -n --count -k --key -K --key-delimiter -H --header --timestamp -p --partition -z --compression --acks --producer-id --lock-wait --partitions -d --dir'
        case 'consume'
            string split ' ' -- '-r --regex -o --offset --from --to --since --until -p --partition -n --count --tail --idle --max-time --timeout -G --grep --cursor-file -f --format -D --delimiter -d --dir'
        case 'tail'
            string split ' ' -- '-r --regex -p --partition --tail --idle --max-time --timeout -G --grep -f --format -D --delimiter -d --dir'
        case 'topics'
            string split ' ' -- '-r --regex -d --dir'
        case 'topics list'
            string split ' ' -- '-r --regex -d --dir'
        case 'topics create'
            string split ' ' -- '-p --partitions -c --config --shared-group --shared-readers --lock-wait -d --dir'
        case 'topics describe'
            string split ' ' -- '-r --regex -d --dir'
        case 'topics alter'
            string split ' ' -- '-c --config --unset -p --partitions --lock-wait -d --dir'
        case 'topics rename'
            string split ' ' -- '--lock-wait -d --dir'
        case 'topics seal'
            string split ' ' -- '--lock-wait -d --dir'
        case 'topics delete'
            string split ' ' -- '-r --regex --lock-wait -d --dir'
        case 'topics offsets'
            string split ' ' -- '-p --partition -d --dir'
        case 'topics which'
            string split ' ' -- '-d --dir'
        case 'topics get'
            string split ' ' -- '-p --partition -f --format -D --delimiter -d --dir'
        case 'topics verify'
            string split ' ' -- '-r --regex -p --partition -d --dir'
        case 'topics dump'
            string split ' ' -- '-p --partition -o --offset -d --dir'
        case 'topics clean'
            string split ' ' -- '-r --regex --lock-wait -d --dir'
        case 'topics trim'
            string split ' ' -- '--to -p --partition --lock-wait -d --dir'
    end
end

# Prints three lines: the command so far, the number of arguments after it, the log directory.
function __mk_parse
    set -l value_flags (__mk_value_flags)
    set -l commands 'produce' 'consume' 'tail' 'topics' 'topics list' 'topics create' 'topics describe' 'topics alter' 'topics rename' 'topics seal' 'topics delete' 'topics offsets' 'topics which' 'topics get' 'topics verify' 'topics dump' 'topics clean' 'topics trim' 'completion' 'help'
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

function __mk_topics
    set -l parsed (__mk_parse)
    set -l directories $parsed[3]/topics/*/
    # Whatever else somebody may have put there must not get onto the command line.
    string match -r --groups-only -- '/([A-Za-z0-9][A-Za-z0-9._-]*)/$' $directories
end

complete -c mk -f
complete -c mk -n '__mk_at' -a produce -d 'append records to a topic'
complete -c mk -n '__mk_at' -a consume -d 'print the records of topics'
complete -c mk -n '__mk_at' -a tail -d 'print the last records of topics, and follow them'
complete -c mk -n '__mk_at' -a topics -d 'list, make, describe, change, delete and verify topics'
complete -c mk -n '__mk_at' -a completion -d 'print the completions for a shell'
complete -c mk -n '__mk_at' -a help -d 'explain a command, or offsets, formats, exit-codes'
complete -c mk -n '__mk_within' -s d -l dir -r -f -a '(__fish_complete_directories)' -d 'the log directory; default $XDG_DATA_HOME/mk, else ~/.local/share/mk'
complete -c mk -n '__mk_within' -s q -d 'no notes on stderr, only errors'
complete -c mk -n '__mk_within' -s v -d 'a line on stderr for each acknowledged append: TOPIC PARTITION FIRST LAST, offsets inclusive'
complete -c mk -n '__mk_within' -l json -d 'JSON instead of text, errors too'
complete -c mk -n '__mk_within' -l no-color -d 'no colors on a terminal; so does $NO_COLOR'
complete -c mk -n '__mk_within' -l yes -d 'do not ask; needed when stdin is no terminal'
complete -c mk -n '__mk_within' -l allow-network-fs -d 'write to a network file system, trusting that its locks reach every writer'
complete -c mk -n '__mk_within' -l timeout -r -f -d 'fail with status 124 when it is not done after TIME, such as 10s; what was printed stays'
complete -c mk -n '__mk_within produce' -l file -r -F -d 'read FILE instead of stdin; may be repeated, - is stdin'
complete -c mk -n '__mk_within produce' -s D -l delimiter -r -f -d 'DELIM ends a record, instead of a newline; \\t \\0 \\xNN are understood'
complete -c mk -n '__mk_within produce' -s 0 -l null -d 'a NUL byte ends a record, instead of a newline'
complete -c mk -n '__mk_within produce' -l whole -d 'all of stdin, or each --file, is one record'
complete -c mk -n '__mk_within produce' -s n -l count -r -f -d 'stop after N records, and leave the rest of the input unread'
complete -c mk -n '__mk_within produce' -l skip-bad -d 'skip a record that cannot be stored, say which, and end with status 1; default is to stop there'
complete -c mk -n '__mk_within produce' -s k -l key -r -f -d 'the key of every record'
complete -c mk -n '__mk_within produce' -s K -l key-delimiter -r -f -d 'split each record at the first DELIM into key and value; \\t and \\xNN are understood; beats -k'
complete -c mk -n '__mk_within produce' -s H -l header -r -f -d 'a header of every record; also NAME:VALUE; NAME alone is null, NAME= empty; may be repeated'
complete -c mk -n '__mk_within produce' -l timestamp -r -f -d 'the time of every record, such as 2026-11-23T10:00:00Z, -1h or seconds since 1970; default now; retention.ms, 7 days by default, counts from it'
complete -c mk -n '__mk_within produce' -s Z -d 'an empty value is a null: with a key a tombstone, which compaction takes as deleted'
complete -c mk -n '__mk_within produce' -s p -l partition -r -f -d 'put every record into partition N, whatever its key'
complete -c mk -n '__mk_within produce' -s z -l compression -r -f -a 'none gzip lz4 zstd' -d 'compress batches: none, gzip, lz4 or zstd; default the topic\'s compression.type'
complete -c mk -n '__mk_within produce' -l acks -r -f -a '0 1' -d 'what is stored when a record counts as stored: 1 it is on disk, 0 it survives this process but not a power cut; default 1'
complete -c mk -n '__mk_within produce' -l producer-id -r -f -d 'run again under this name with the same input, from its start: what is stored already is not stored again'
complete -c mk -n '__mk_within produce' -l lock-wait -r -f -d 'how long to wait for another writer\'s lock, such as 10s or 500ms; default 10s'
complete -c mk -n '__mk_within produce' -l partitions -r -f -d 'the number of partitions, if this command makes the topic; default 1'
complete -c mk -n '__mk_within produce' -l no-create -d 'fail if there is no such topic'
complete -c mk -n '__mk_within produce' -s d -l dir -r -f -a '(__fish_complete_directories)' -d 'the log directory; default $XDG_DATA_HOME/mk, else ~/.local/share/mk'
complete -c mk -n '__mk_within produce' -l allow-network-fs -d 'write to a network file system, trusting that its locks reach every writer'
complete -c mk -n '__mk_within produce' -s T -l tee -d 'write the input to stdout too, as it came, each part after its records are stored'
complete -c mk -n '__mk_within produce' -s q -d 'no notes on stderr, only errors'
complete -c mk -n '__mk_within produce' -s v -d 'a line on stderr for each acknowledged append: TOPIC PARTITION FIRST LAST, offsets inclusive'
complete -c mk -n '__mk_within produce' -l json -d 'errors as JSON'
complete -c mk -n '__mk_argument 0 produce' -f -a '(__mk_topics)'
complete -c mk -n '__mk_within consume' -s r -l regex -r -f -d 'all topics in whose names this Python regular expression is found, instead of TOPIC; ^ and $ tie it to the ends; with -F also topics that appear later'
complete -c mk -n '__mk_within consume' -s o -l offset -r -f -a 'start end' -d 'which offsets: start, end, N, -N for the last N, A:B, @TIME, and more; default start; see `mk help offsets`'
complete -c mk -n '__mk_within consume' -l from -r -f -a 'start end' -d 'where to begin, as -o POS'
complete -c mk -n '__mk_within consume' -l to -r -f -a 'start end' -d 'where to end, POS excluded, as -o :POS'
complete -c mk -n '__mk_within consume' -l since -r -f -d 'begin at the first record of TIME or later, in each partition; such as -1h, today, 2026-11-23T10:00'
complete -c mk -n '__mk_within consume' -l until -r -f -d 'end before the first record of TIME or later, in each partition'
complete -c mk -n '__mk_within consume' -s p -l partition -r -f -d 'only these partitions, such as 0,3'
complete -c mk -n '__mk_within consume' -s n -l count -r -f -d 'stop after N records'
complete -c mk -n '__mk_within consume' -l tail -r -f -d 'of all that is asked for, the newest N records, over all partitions together'
complete -c mk -n '__mk_within consume' -s F -l follow -d 'do not stop at the end, wait for more'
complete -c mk -n '__mk_within consume' -l idle -r -f -d 'with -F: stop, with status 0, when nothing came for TIME since the last record was taken, or since the start'
complete -c mk -n '__mk_within consume' -l max-time -r -f -d 'stop after TIME, with status 0, wherever it is; what was printed is whole records'
complete -c mk -n '__mk_within consume' -l timeout -r -f -d 'fail with status 124 when it is not done after TIME, such as 10s; what was printed stays'
complete -c mk -n '__mk_within consume' -s G -l grep -r -f -d 'only records in whose value (v=REGEX), key (k=REGEX) or header NAME (h:NAME=REGEX) this Python regular expression is found; with ! only the others; may be repeated, and all have to hold'
complete -c mk -n '__mk_within consume' -l merge -d 'all partitions as one, in the order of the records\' times'
complete -c mk -n '__mk_within consume' -l reverse -d 'the newest records first: of each partition, or with --merge of all by their times'
complete -c mk -n '__mk_within consume' -l cursor-file -r -F -d 'begin where FILE says that reading ended, and note there what was printed; -o says where to begin in partitions of which it says nothing'
complete -c mk -n '__mk_within consume' -s f -l format -r -f -a 'value kv json raw' -d 'how to print a record: value, kv, json or raw; see `mk help formats`; default value'
complete -c mk -n '__mk_within consume' -s J -d 'the same as -f json'
complete -c mk -n '__mk_within consume' -l json -d '-J, and errors as JSON too'
complete -c mk -n '__mk_within consume' -s D -l delimiter -r -f -d 'end each record with DELIM instead of a newline; \\t \\0 \\xNN are understood'
complete -c mk -n '__mk_within consume' -s 0 -l null -d 'end each record with a NUL byte instead of a newline'
complete -c mk -n '__mk_within consume' -s Z -d 'print a null value, and with -f kv a null key, as NULL, to tell it from an empty one'
complete -c mk -n '__mk_within consume' -l raw -d 'control characters go to a terminal as they are'
complete -c mk -n '__mk_within consume' -s q -d 'no notes on stderr, only errors'
complete -c mk -n '__mk_within consume' -s d -l dir -r -f -a '(__fish_complete_directories)' -d 'the log directory; default $XDG_DATA_HOME/mk, else ~/.local/share/mk'
complete -c mk -n '__mk_argument_from 0 consume' -f -a '(__mk_topics)'
complete -c mk -n '__mk_within tail' -s r -l regex -r -f -d 'all topics in whose names this Python regular expression is found, instead of TOPIC; ^ and $ tie it to the ends; with -F also topics that appear later'
complete -c mk -n '__mk_within tail' -s p -l partition -r -f -d 'only these partitions, such as 0,3'
complete -c mk -n '__mk_within tail' -l tail -r -f -d 'begin with the newest N records; default 10'
complete -c mk -n '__mk_within tail' -l idle -r -f -d 'with -F: stop, with status 0, when nothing came for TIME since the last record was taken, or since the start'
complete -c mk -n '__mk_within tail' -l max-time -r -f -d 'stop after TIME, with status 0, wherever it is; what was printed is whole records'
complete -c mk -n '__mk_within tail' -l timeout -r -f -d 'fail with status 124 when it is not done after TIME, such as 10s; what was printed stays'
complete -c mk -n '__mk_within tail' -s G -l grep -r -f -d 'only records in whose value (v=REGEX), key (k=REGEX) or header NAME (h:NAME=REGEX) this Python regular expression is found; with ! only the others; may be repeated, and all have to hold'
complete -c mk -n '__mk_within tail' -l merge -d 'all partitions as one, in the order of the records\' times'
complete -c mk -n '__mk_within tail' -s f -l format -r -f -a 'value kv json raw' -d 'how to print a record: value, kv, json or raw; see `mk help formats`; default value'
complete -c mk -n '__mk_within tail' -s J -d 'the same as -f json'
complete -c mk -n '__mk_within tail' -l json -d '-J, and errors as JSON too'
complete -c mk -n '__mk_within tail' -s D -l delimiter -r -f -d 'end each record with DELIM instead of a newline; \\t \\0 \\xNN are understood'
complete -c mk -n '__mk_within tail' -s 0 -l null -d 'end each record with a NUL byte instead of a newline'
complete -c mk -n '__mk_within tail' -s Z -d 'print a null value, and with -f kv a null key, as NULL, to tell it from an empty one'
complete -c mk -n '__mk_within tail' -l raw -d 'control characters go to a terminal as they are'
complete -c mk -n '__mk_within tail' -s q -d 'no notes on stderr, only errors'
complete -c mk -n '__mk_within tail' -s d -l dir -r -f -a '(__fish_complete_directories)' -d 'the log directory; default $XDG_DATA_HOME/mk, else ~/.local/share/mk'
complete -c mk -n '__mk_argument_from 0 tail' -f -a '(__mk_topics)'
complete -c mk -n '__mk_at topics' -a list -d 'list the topics'
complete -c mk -n '__mk_at topics' -a create -d 'make a topic'
complete -c mk -n '__mk_at topics' -a describe -d 'show partitions and settings of topics'
complete -c mk -n '__mk_at topics' -a alter -d 'change settings of a topic, add partitions'
complete -c mk -n '__mk_at topics' -a rename -d 'give a topic another name'
complete -c mk -n '__mk_at topics' -a seal -d 'close a topic to new records'
complete -c mk -n '__mk_at topics' -a delete -d 'delete topics and their records'
complete -c mk -n '__mk_at topics' -a offsets -d 'show the first and next offset of each partition'
complete -c mk -n '__mk_at topics' -a which -d 'tell which partition a key belongs to'
complete -c mk -n '__mk_at topics' -a get -d 'print the last record with a key'
complete -c mk -n '__mk_at topics' -a verify -d 'prove every byte of topics, and name damage'
complete -c mk -n '__mk_at topics' -a dump -d 'show what stands in the files of a log'
complete -c mk -n '__mk_at topics' -a clean -d 'remove the records that the topics\' limits let go'
complete -c mk -n '__mk_at topics' -a trim -d 'remove the records of a topic below an offset or time'
complete -c mk -n '__mk_within topics' -s r -l regex -r -f -d 'all topics in whose name the regular expression is found somewhere; ^ and $ tie it to the ends'
complete -c mk -n '__mk_within topics' -s q -d 'names only, one a line'
complete -c mk -n '__mk_within topics' -s d -l dir -r -f -a '(__fish_complete_directories)' -d 'the log directory; default $XDG_DATA_HOME/mk, else ~/.local/share/mk'
complete -c mk -n '__mk_within topics' -l json -d 'JSON instead of text, errors too'
complete -c mk -n '__mk_within topics' -l no-color -d 'no colors on a terminal; so does $NO_COLOR'
complete -c mk -n '__mk_within topics list' -s r -l regex -r -f -d 'all topics in whose name the regular expression is found somewhere; ^ and $ tie it to the ends'
complete -c mk -n '__mk_within topics list' -s q -d 'names only, one a line'
complete -c mk -n '__mk_within topics list' -s d -l dir -r -f -a '(__fish_complete_directories)' -d 'the log directory; default $XDG_DATA_HOME/mk, else ~/.local/share/mk'
complete -c mk -n '__mk_within topics list' -l json -d 'JSON instead of text, errors too'
complete -c mk -n '__mk_within topics list' -l no-color -d 'no colors on a terminal; so does $NO_COLOR'
complete -c mk -n '__mk_within topics create' -s p -l partitions -r -f -d 'the number of partitions; default 1'
complete -c mk -n '__mk_within topics create' -s c -l config -r -f -a 'compression.type= flush.ms= max.message.bytes= min.free= partitioner= retention.bytes= retention.groups= retention.ms= segment.bytes= segment.ms=' -d 'a setting under Kafka\'s name, such as segment.bytes=1048576; may be repeated'
complete -c mk -n '__mk_within topics create' -l if-not-exists -d 'succeed if the topic is there already, and say what is different about it'
complete -c mk -n '__mk_within topics create' -l shared-group -r -f -a '(__fish_complete_groups)' -d 'make the log directory one that all members of GROUP, a name or number, write to, whatever their umask'
complete -c mk -n '__mk_within topics create' -l shared-readers -r -f -a 'all group' -d 'who reads a directory made with --shared-group: all, or group for its members only; default all'
complete -c mk -n '__mk_within topics create' -l dry-run -d 'only show what would be done'
complete -c mk -n '__mk_within topics create' -l lock-wait -r -f -d 'how long to wait for another writer\'s lock, such as 10s or 500ms; default 10s'
complete -c mk -n '__mk_within topics create' -s d -l dir -r -f -a '(__fish_complete_directories)' -d 'the log directory; default $XDG_DATA_HOME/mk, else ~/.local/share/mk'
complete -c mk -n '__mk_within topics create' -l allow-network-fs -d 'write to a network file system, trusting that its locks reach every writer'
complete -c mk -n '__mk_within topics create' -l json -d 'JSON instead of text, errors too'
complete -c mk -n '__mk_within topics create' -s q -d 'no notes on stderr, only errors'
complete -c mk -n '__mk_within topics describe' -s r -l regex -r -f -d 'all topics in whose name the regular expression is found somewhere; ^ and $ tie it to the ends'
complete -c mk -n '__mk_within topics describe' -s s -l summary -d 'the summary'
complete -c mk -n '__mk_within topics describe' -s c -l configs -d 'the settings in force'
complete -c mk -n '__mk_within topics describe' -s p -l partitions -d 'the partitions'
complete -c mk -n '__mk_within topics describe' -s a -l all -d 'all of them'
complete -c mk -n '__mk_within topics describe' -s d -l dir -r -f -a '(__fish_complete_directories)' -d 'the log directory; default $XDG_DATA_HOME/mk, else ~/.local/share/mk'
complete -c mk -n '__mk_within topics describe' -l json -d 'JSON instead of text, errors too'
complete -c mk -n '__mk_within topics describe' -l no-color -d 'no colors on a terminal; so does $NO_COLOR'
complete -c mk -n '__mk_argument_from 0 topics describe' -f -a '(__mk_topics)'
complete -c mk -n '__mk_within topics alter' -s c -l config -r -f -a 'compression.type= flush.ms= max.message.bytes= min.free= partitioner= retention.bytes= retention.groups= retention.ms= segment.bytes= segment.ms=' -d 'a setting under Kafka\'s name, such as segment.bytes=1048576; may be repeated'
complete -c mk -n '__mk_within topics alter' -l unset -r -f -a 'compression.type flush.ms max.message.bytes min.free partitioner retention.bytes retention.groups retention.ms segment.bytes segment.ms' -d 'back to the default; may be repeated'
complete -c mk -n '__mk_within topics alter' -s p -l partitions -r -f -d 'the number of partitions that the topic shall have'
complete -c mk -n '__mk_within topics alter' -l dry-run -d 'only show what would be done'
complete -c mk -n '__mk_within topics alter' -l yes -d 'do not ask; needed when stdin is no terminal'
complete -c mk -n '__mk_within topics alter' -l if-exists -d 'succeed if there is no such topic'
complete -c mk -n '__mk_within topics alter' -l lock-wait -r -f -d 'how long to wait for another writer\'s lock, such as 10s or 500ms; default 10s'
complete -c mk -n '__mk_within topics alter' -s d -l dir -r -f -a '(__fish_complete_directories)' -d 'the log directory; default $XDG_DATA_HOME/mk, else ~/.local/share/mk'
complete -c mk -n '__mk_within topics alter' -l allow-network-fs -d 'write to a network file system, trusting that its locks reach every writer'
complete -c mk -n '__mk_within topics alter' -l json -d 'JSON instead of text, errors too'
complete -c mk -n '__mk_within topics alter' -s q -d 'no notes on stderr, only errors'
complete -c mk -n '__mk_argument 0 topics alter' -f -a '(__mk_topics)'
complete -c mk -n '__mk_within topics rename' -l dry-run -d 'only show what would be done'
complete -c mk -n '__mk_within topics rename' -l if-exists -d 'succeed if there is no such topic'
complete -c mk -n '__mk_within topics rename' -l lock-wait -r -f -d 'how long to wait for another writer\'s lock, such as 10s or 500ms; default 10s'
complete -c mk -n '__mk_within topics rename' -s d -l dir -r -f -a '(__fish_complete_directories)' -d 'the log directory; default $XDG_DATA_HOME/mk, else ~/.local/share/mk'
complete -c mk -n '__mk_within topics rename' -l allow-network-fs -d 'write to a network file system, trusting that its locks reach every writer'
complete -c mk -n '__mk_within topics rename' -l json -d 'JSON instead of text, errors too'
complete -c mk -n '__mk_within topics rename' -s q -d 'no notes on stderr, only errors'
complete -c mk -n '__mk_argument 0 topics rename' -f -a '(__mk_topics)'
complete -c mk -n '__mk_within topics seal' -l undo -d 'open it to records again'
complete -c mk -n '__mk_within topics seal' -l dry-run -d 'only show what would be done'
complete -c mk -n '__mk_within topics seal' -l if-exists -d 'succeed if there is no such topic'
complete -c mk -n '__mk_within topics seal' -l lock-wait -r -f -d 'how long to wait for another writer\'s lock, such as 10s or 500ms; default 10s'
complete -c mk -n '__mk_within topics seal' -s d -l dir -r -f -a '(__fish_complete_directories)' -d 'the log directory; default $XDG_DATA_HOME/mk, else ~/.local/share/mk'
complete -c mk -n '__mk_within topics seal' -l allow-network-fs -d 'write to a network file system, trusting that its locks reach every writer'
complete -c mk -n '__mk_within topics seal' -l json -d 'JSON instead of text, errors too'
complete -c mk -n '__mk_within topics seal' -s q -d 'no notes on stderr, only errors'
complete -c mk -n '__mk_argument 0 topics seal' -f -a '(__mk_topics)'
complete -c mk -n '__mk_within topics delete' -s r -l regex -r -f -d 'all topics in whose name the regular expression is found somewhere; ^ and $ tie it to the ends'
complete -c mk -n '__mk_within topics delete' -l dry-run -d 'only show what would be done'
complete -c mk -n '__mk_within topics delete' -l yes -d 'do not ask; needed when stdin is no terminal'
complete -c mk -n '__mk_within topics delete' -l if-exists -d 'succeed if there is no such topic'
complete -c mk -n '__mk_within topics delete' -l lock-wait -r -f -d 'how long to wait for another writer\'s lock, such as 10s or 500ms; default 10s'
complete -c mk -n '__mk_within topics delete' -s d -l dir -r -f -a '(__fish_complete_directories)' -d 'the log directory; default $XDG_DATA_HOME/mk, else ~/.local/share/mk'
complete -c mk -n '__mk_within topics delete' -l allow-network-fs -d 'write to a network file system, trusting that its locks reach every writer'
complete -c mk -n '__mk_within topics delete' -l json -d 'JSON instead of text, errors too'
complete -c mk -n '__mk_within topics delete' -s q -d 'no notes on stderr, only errors'
complete -c mk -n '__mk_argument_from 0 topics delete' -f -a '(__mk_topics)'
complete -c mk -n '__mk_within topics offsets' -s p -l partition -r -f -d 'only these partitions, such as 0,3'
complete -c mk -n '__mk_within topics offsets' -s d -l dir -r -f -a '(__fish_complete_directories)' -d 'the log directory; default $XDG_DATA_HOME/mk, else ~/.local/share/mk'
complete -c mk -n '__mk_within topics offsets' -l json -d 'JSON instead of text, errors too'
complete -c mk -n '__mk_within topics offsets' -l no-color -d 'no colors on a terminal; so does $NO_COLOR'
complete -c mk -n '__mk_argument 0 topics offsets' -f -a '(__mk_topics)'
complete -c mk -n '__mk_within topics which' -s q -d 'only the partitions, one a line'
complete -c mk -n '__mk_within topics which' -s d -l dir -r -f -a '(__fish_complete_directories)' -d 'the log directory; default $XDG_DATA_HOME/mk, else ~/.local/share/mk'
complete -c mk -n '__mk_within topics which' -l json -d 'JSON instead of text, errors too'
complete -c mk -n '__mk_within topics which' -l no-color -d 'no colors on a terminal; so does $NO_COLOR'
complete -c mk -n '__mk_argument 0 topics which' -f -a '(__mk_topics)'
complete -c mk -n '__mk_within topics get' -s p -l partition -r -f -d 'search these partitions, such as 0,3'
complete -c mk -n '__mk_within topics get' -l all-partitions -d 'search all partitions'
complete -c mk -n '__mk_within topics get' -s f -l format -r -f -a 'value kv json raw' -d 'how to print a record: value, kv, json or raw; see `mk help formats`; default value'
complete -c mk -n '__mk_within topics get' -s J -d 'the same as -f json'
complete -c mk -n '__mk_within topics get' -l json -d '-J, and errors as JSON too'
complete -c mk -n '__mk_within topics get' -s D -l delimiter -r -f -d 'end each record with DELIM instead of a newline; \\t \\0 \\xNN are understood'
complete -c mk -n '__mk_within topics get' -s 0 -l null -d 'end each record with a NUL byte instead of a newline'
complete -c mk -n '__mk_within topics get' -l raw -d 'control characters go to a terminal as they are'
complete -c mk -n '__mk_within topics get' -s d -l dir -r -f -a '(__fish_complete_directories)' -d 'the log directory; default $XDG_DATA_HOME/mk, else ~/.local/share/mk'
complete -c mk -n '__mk_argument 0 topics get' -f -a '(__mk_topics)'
complete -c mk -n '__mk_within topics verify' -s r -l regex -r -f -d 'all topics in whose name the regular expression is found somewhere; ^ and $ tie it to the ends'
complete -c mk -n '__mk_within topics verify' -s p -l partition -r -f -d 'only these partitions, such as 0,3'
complete -c mk -n '__mk_within topics verify' -s d -l dir -r -f -a '(__fish_complete_directories)' -d 'the log directory; default $XDG_DATA_HOME/mk, else ~/.local/share/mk'
complete -c mk -n '__mk_within topics verify' -l json -d 'JSON instead of text, errors too'
complete -c mk -n '__mk_within topics verify' -l no-color -d 'no colors on a terminal; so does $NO_COLOR'
complete -c mk -n '__mk_within topics verify' -s q -d 'no notes on stderr, only errors'
complete -c mk -n '__mk_argument_from 0 topics verify' -f -a '(__mk_topics)'
complete -c mk -n '__mk_within topics dump' -s p -l partition -r -f -d 'only these partitions of the topic, such as 0,3'
complete -c mk -n '__mk_within topics dump' -s o -l offset -r -f -d 'begin with the batch that holds offset N'
complete -c mk -n '__mk_within topics dump' -l records -d 'show the records too, as `mk consume -J` does'
complete -c mk -n '__mk_within topics dump' -s d -l dir -r -f -a '(__fish_complete_directories)' -d 'the log directory; default $XDG_DATA_HOME/mk, else ~/.local/share/mk'
complete -c mk -n '__mk_within topics dump' -l json -d 'a JSON object a line, its type in `type`; errors too'
complete -c mk -n '__mk_argument 0 topics dump' -f -a '(__mk_topics)'
complete -c mk -n '__mk_within topics clean' -s r -l regex -r -f -d 'all topics in whose name the regular expression is found somewhere; ^ and $ tie it to the ends'
complete -c mk -n '__mk_within topics clean' -l dry-run -d 'only show which segments would go, and why the others stay'
complete -c mk -n '__mk_within topics clean' -l lock-wait -r -f -d 'how long to wait for another writer\'s lock, such as 10s or 500ms; default 10s'
complete -c mk -n '__mk_within topics clean' -s d -l dir -r -f -a '(__fish_complete_directories)' -d 'the log directory; default $XDG_DATA_HOME/mk, else ~/.local/share/mk'
complete -c mk -n '__mk_within topics clean' -l allow-network-fs -d 'write to a network file system, trusting that its locks reach every writer'
complete -c mk -n '__mk_within topics clean' -l json -d 'JSON instead of text, errors too'
complete -c mk -n '__mk_within topics clean' -l no-color -d 'no colors on a terminal; so does $NO_COLOR'
complete -c mk -n '__mk_within topics clean' -s q -d 'no notes on stderr, only errors'
complete -c mk -n '__mk_argument_from 0 topics clean' -f -a '(__mk_topics)'
complete -c mk -n '__mk_within topics trim' -l to -r -f -a 'start end' -d 'the first record that stays: N, -N for the last N, @TIME, group:NAME for what that group has not read, end for none, 0:5,1:end by partition; see `mk help offsets`'
complete -c mk -n '__mk_within topics trim' -s p -l partition -r -f -d 'only these partitions, such as 0,3'
complete -c mk -n '__mk_within topics trim' -l dry-run -d 'only show what would be removed'
complete -c mk -n '__mk_within topics trim' -l yes -d 'do not ask; needed when stdin is no terminal'
complete -c mk -n '__mk_within topics trim' -l lock-wait -r -f -d 'how long to wait for another writer\'s lock, such as 10s or 500ms; default 10s'
complete -c mk -n '__mk_within topics trim' -s d -l dir -r -f -a '(__fish_complete_directories)' -d 'the log directory; default $XDG_DATA_HOME/mk, else ~/.local/share/mk'
complete -c mk -n '__mk_within topics trim' -l allow-network-fs -d 'write to a network file system, trusting that its locks reach every writer'
complete -c mk -n '__mk_within topics trim' -l json -d 'JSON instead of text, errors too'
complete -c mk -n '__mk_within topics trim' -l no-color -d 'no colors on a terminal; so does $NO_COLOR'
complete -c mk -n '__mk_within topics trim' -s q -d 'no notes on stderr, only errors'
complete -c mk -n '__mk_argument 0 topics trim' -f -a '(__mk_topics)'
complete -c mk -n '__mk_argument 0 completion' -f -a 'bash zsh fish'
complete -c mk -n '__mk_argument_from 0 help' -f -a 'offsets formats exit-codes produce consume tail topics completion help'
complete -c mk -l help -d 'show the help'
complete -c mk -n __mk_at -l version -d 'show the version'
