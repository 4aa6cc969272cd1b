# fish completion for mk; made from the definition of the commands by mk.cli.completions; changes here are lost

# Prints three lines: the command so far, the number of arguments after it, the log directory.
function __mk_parse
    set -l value_flags -d --dir -k --key -K --key-delimiter -p --partition -z --compression --acks --producer-id --lock-wait --partitions -o --offset -n --count -f --format -c --config --shared-group --shared-readers -r --regex --to
    set -l commands 'topics' 'produce' 'consume' 'topics list' 'topics create' 'topics describe' 'topics delete' 'topics offsets' 'topics clean' 'topics trim' 'completion' 'help'
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
complete -c mk -n '__mk_at' -a produce -d 'append records to a topic'
complete -c mk -n '__mk_at' -a consume -d 'print the records of topics'
complete -c mk -n '__mk_at' -a topics -d 'list, make, describe and delete topics'
complete -c mk -n '__mk_at' -a completion -d 'print the completions for a shell'
complete -c mk -n '__mk_at' -a help -d 'explain a command, or offsets, formats, exit-codes'
complete -c mk -n '__mk_within' -s d -l dir -x -a '(__fish_complete_directories)' -d 'the log directory; default $XDG_DATA_HOME/mk, else ~/.local/share/mk'
complete -c mk -n '__mk_within' -s q -d 'no notes on stderr, only errors'
complete -c mk -n '__mk_within' -s v -d 'a line on stderr for each acknowledged append: TOPIC PARTITION FIRST LAST, offsets inclusive'
complete -c mk -n '__mk_within' -l json -d 'JSON instead of text, errors too'
complete -c mk -n '__mk_within' -l no-color -d 'no colors on a terminal; so does $NO_COLOR'
complete -c mk -n '__mk_within' -l yes -d 'do not ask; needed when stdin is no terminal'
complete -c mk -n '__mk_within' -l allow-network-fs -d 'write to a network file system, trusting that its locks reach every writer'
complete -c mk -n '__mk_at topics' -a list -d 'list the topics'
complete -c mk -n '__mk_at topics' -a create -d 'make a topic'
complete -c mk -n '__mk_at topics' -a describe -d 'show partitions and settings of topics'
complete -c mk -n '__mk_at topics' -a delete -d 'delete topics and their records'
complete -c mk -n '__mk_at topics' -a offsets -d 'show the first and next offset of each partition'
complete -c mk -n '__mk_at topics' -a clean -d 'remove the records that the topics\' limits let go'
complete -c mk -n '__mk_at topics' -a trim -d 'remove the records of a topic below an offset or time'
complete -c mk -n '__mk_within topics' -s d -l dir -x -a '(__fish_complete_directories)' -d 'the log directory; default $XDG_DATA_HOME/mk, else ~/.local/share/mk'
complete -c mk -n '__mk_within topics' -l json -d 'JSON instead of text, errors too'
complete -c mk -n '__mk_within topics' -l no-color -d 'no colors on a terminal; so does $NO_COLOR'
complete -c mk -n '__mk_within produce' -s k -l key -x -d 'the key of every record'
complete -c mk -n '__mk_within produce' -s K -l key-delimiter -x -d 'split each line at the first DELIM into key and value; \\t and \\xNN are understood; beats -k'
complete -c mk -n '__mk_within produce' -s p -l partition -x -d 'put every record into partition N, whatever its key'
complete -c mk -n '__mk_within produce' -s z -l compression -x -a 'none gzip lz4 zstd' -d 'compress batches: none, gzip, lz4 or zstd; default the topic\'s compression.type'
complete -c mk -n '__mk_within produce' -l acks -x -a '0 1' -d 'what is stored when a record counts as stored: 1 it is on disk, 0 it survives this process but not a power cut; default 1'
complete -c mk -n '__mk_within produce' -l producer-id -x -d 'run again under this name with the same input, from its start: what is stored already is not stored again'
complete -c mk -n '__mk_within produce' -l lock-wait -x -d 'how long to wait for another writer\'s lock, such as 10s or 500ms; default 10s'
complete -c mk -n '__mk_within produce' -l partitions -x -d 'the number of partitions, if this command makes the topic; default 1'
complete -c mk -n '__mk_within produce' -l no-create -d 'fail if there is no such topic'
complete -c mk -n '__mk_within produce' -s d -l dir -x -a '(__fish_complete_directories)' -d 'the log directory; default $XDG_DATA_HOME/mk, else ~/.local/share/mk'
complete -c mk -n '__mk_within produce' -l allow-network-fs -d 'write to a network file system, trusting that its locks reach every writer'
complete -c mk -n '__mk_within produce' -s q -d 'no notes on stderr, only errors'
complete -c mk -n '__mk_within produce' -s v -d 'a line on stderr for each acknowledged append: TOPIC PARTITION FIRST LAST, offsets inclusive'
complete -c mk -n '__mk_within produce' -l json -d 'errors as JSON'
complete -c mk -n '__mk_argument 0 produce' -a '(__mk_topics)'
complete -c mk -n '__mk_within consume' -s o -l offset -x -a 'start end' -d 'where to begin in each partition: start, end, N, or -N for the last N; default start'
complete -c mk -n '__mk_within consume' -s p -l partition -x -d 'only these partitions, such as 0,3'
complete -c mk -n '__mk_within consume' -s n -l count -x -d 'stop after N records'
complete -c mk -n '__mk_within consume' -s F -l follow -d 'do not stop at the end, wait for more'
complete -c mk -n '__mk_within consume' -s f -l format -x -a 'value kv json raw' -d 'how to print a record: value, kv, json or raw; see `mk help formats`; default value'
complete -c mk -n '__mk_within consume' -s J -d 'the same as -f json'
complete -c mk -n '__mk_within consume' -l json -d '-J, and errors as JSON too'
complete -c mk -n '__mk_within consume' -s 0 -l null -d 'end each record with a NUL byte instead of a newline'
complete -c mk -n '__mk_within consume' -l raw -d 'control characters go to a terminal as they are'
complete -c mk -n '__mk_within consume' -s q -d 'no notes on stderr, only errors'
complete -c mk -n '__mk_within consume' -s d -l dir -x -a '(__fish_complete_directories)' -d 'the log directory; default $XDG_DATA_HOME/mk, else ~/.local/share/mk'
complete -c mk -n '__mk_within consume' -a '(__mk_topics)'
complete -c mk -n '__mk_within topics list' -s d -l dir -x -a '(__fish_complete_directories)' -d 'the log directory; default $XDG_DATA_HOME/mk, else ~/.local/share/mk'
complete -c mk -n '__mk_within topics list' -l json -d 'JSON instead of text, errors too'
complete -c mk -n '__mk_within topics list' -l no-color -d 'no colors on a terminal; so does $NO_COLOR'
complete -c mk -n '__mk_within topics create' -s p -l partitions -x -d 'the number of partitions; default 1'
complete -c mk -n '__mk_within topics create' -s c -l config -x -d 'a setting under Kafka\'s name, such as segment.bytes=1048576; may be repeated'
complete -c mk -n '__mk_within topics create' -l if-not-exists -d 'succeed if the topic is there already'
complete -c mk -n '__mk_within topics create' -l shared-group -x -d 'make the log directory one that all members of GROUP, a name or number, write to, whatever their umask'
complete -c mk -n '__mk_within topics create' -l shared-readers -x -a 'all group' -d 'who reads a directory made with --shared-group: all, or group for its members only; default all'
complete -c mk -n '__mk_within topics create' -s d -l dir -x -a '(__fish_complete_directories)' -d 'the log directory; default $XDG_DATA_HOME/mk, else ~/.local/share/mk'
complete -c mk -n '__mk_within topics create' -l allow-network-fs -d 'write to a network file system, trusting that its locks reach every writer'
complete -c mk -n '__mk_within topics create' -l json -d 'JSON instead of text, errors too'
complete -c mk -n '__mk_within topics create' -s q -d 'no notes on stderr, only errors'
complete -c mk -n '__mk_within topics describe' -s d -l dir -x -a '(__fish_complete_directories)' -d 'the log directory; default $XDG_DATA_HOME/mk, else ~/.local/share/mk'
complete -c mk -n '__mk_within topics describe' -l json -d 'JSON instead of text, errors too'
complete -c mk -n '__mk_within topics describe' -l no-color -d 'no colors on a terminal; so does $NO_COLOR'
complete -c mk -n '__mk_within topics describe' -a '(__mk_topics)'
complete -c mk -n '__mk_within topics delete' -l dry-run -d 'only show what would be deleted'
complete -c mk -n '__mk_within topics delete' -l yes -d 'do not ask; needed when stdin is no terminal'
complete -c mk -n '__mk_within topics delete' -l if-exists -d 'succeed if there is no such topic'
complete -c mk -n '__mk_within topics delete' -l lock-wait -x -d 'how long to wait for another writer\'s lock, such as 10s or 500ms; default 10s'
complete -c mk -n '__mk_within topics delete' -s d -l dir -x -a '(__fish_complete_directories)' -d 'the log directory; default $XDG_DATA_HOME/mk, else ~/.local/share/mk'
complete -c mk -n '__mk_within topics delete' -l allow-network-fs -d 'write to a network file system, trusting that its locks reach every writer'
complete -c mk -n '__mk_within topics delete' -l json -d 'JSON instead of text, errors too'
complete -c mk -n '__mk_within topics delete' -s q -d 'no notes on stderr, only errors'
complete -c mk -n '__mk_within topics delete' -a '(__mk_topics)'
complete -c mk -n '__mk_within topics offsets' -s p -l partition -x -d 'only these partitions, such as 0,3'
complete -c mk -n '__mk_within topics offsets' -s d -l dir -x -a '(__fish_complete_directories)' -d 'the log directory; default $XDG_DATA_HOME/mk, else ~/.local/share/mk'
complete -c mk -n '__mk_within topics offsets' -l json -d 'JSON instead of text, errors too'
complete -c mk -n '__mk_within topics offsets' -l no-color -d 'no colors on a terminal; so does $NO_COLOR'
complete -c mk -n '__mk_argument 0 topics offsets' -a '(__mk_topics)'
complete -c mk -n '__mk_within topics clean' -s r -l regex -x -d 'all topics in whose name the regular expression is found'
complete -c mk -n '__mk_within topics clean' -l dry-run -d 'only show which segments would go, and why the others stay'
complete -c mk -n '__mk_within topics clean' -l lock-wait -x -d 'how long to wait for another writer\'s lock, such as 10s or 500ms; default 10s'
complete -c mk -n '__mk_within topics clean' -s d -l dir -x -a '(__fish_complete_directories)' -d 'the log directory; default $XDG_DATA_HOME/mk, else ~/.local/share/mk'
complete -c mk -n '__mk_within topics clean' -l allow-network-fs -d 'write to a network file system, trusting that its locks reach every writer'
complete -c mk -n '__mk_within topics clean' -l json -d 'JSON instead of text, errors too'
complete -c mk -n '__mk_within topics clean' -l no-color -d 'no colors on a terminal; so does $NO_COLOR'
complete -c mk -n '__mk_within topics clean' -s q -d 'no notes on stderr, only errors'
complete -c mk -n '__mk_within topics clean' -a '(__mk_topics)'
complete -c mk -n '__mk_within topics trim' -l to -x -a 'start end' -d 'the first record that stays, as for `mk consume -o`: N, -N for the last N, end for none'
complete -c mk -n '__mk_within topics trim' -s p -l partition -x -d 'only these partitions, such as 0,3'
complete -c mk -n '__mk_within topics trim' -l dry-run -d 'only show what would be removed'
complete -c mk -n '__mk_within topics trim' -l yes -d 'do not ask; needed when stdin is no terminal'
complete -c mk -n '__mk_within topics trim' -l lock-wait -x -d 'how long to wait for another writer\'s lock, such as 10s or 500ms; default 10s'
complete -c mk -n '__mk_within topics trim' -s d -l dir -x -a '(__fish_complete_directories)' -d 'the log directory; default $XDG_DATA_HOME/mk, else ~/.local/share/mk'
complete -c mk -n '__mk_within topics trim' -l allow-network-fs -d 'write to a network file system, trusting that its locks reach every writer'
complete -c mk -n '__mk_within topics trim' -l json -d 'JSON instead of text, errors too'
complete -c mk -n '__mk_within topics trim' -l no-color -d 'no colors on a terminal; so does $NO_COLOR'
complete -c mk -n '__mk_within topics trim' -s q -d 'no notes on stderr, only errors'
complete -c mk -n '__mk_argument 0 topics trim' -a '(__mk_topics)'
complete -c mk -n '__mk_argument 0 completion' -a 'bash zsh fish'
complete -c mk -n '__mk_within help' -a 'offsets formats exit-codes produce consume topics completion help'
complete -c mk -l help -d 'show the help'
complete -c mk -n __mk_at -l version -d 'show the version'
