# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_msgctl_global_optspecs
    string join \n runtime-dir= json h/help V/version
end

function __fish_msgctl_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_msgctl_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_msgctl_using_subcommand
    set -l cmd (__fish_msgctl_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c msgctl -n "__fish_msgctl_needs_command" -l runtime-dir -d 'The daemon\'s runtime directory, where `msgd.sock` and `status.sock` are [default: $XDG_RUNTIME_DIR/msgd, else /run/msgd]' -r -F
complete -c msgctl -n "__fish_msgctl_needs_command" -l json -d 'Print JSON instead of tables: one document, or with `recv` one object a line'
complete -c msgctl -n "__fish_msgctl_needs_command" -s h -l help -d 'Print help'
complete -c msgctl -n "__fish_msgctl_needs_command" -s V -l version -d 'Print version'
complete -c msgctl -n "__fish_msgctl_needs_command" -f -a "status" -d 'Show the daemon and its counters'
complete -c msgctl -n "__fish_msgctl_needs_command" -f -a "clients" -d 'Show the processes that are registered'
complete -c msgctl -n "__fish_msgctl_needs_command" -f -a "peers" -d 'Show the other nodes and the links to them'
complete -c msgctl -n "__fish_msgctl_needs_command" -f -a "chain" -d 'Show the messages whose outcome is not known yet'
complete -c msgctl -n "__fish_msgctl_needs_command" -f -a "send" -d 'Send messages, wait for their outcomes and print a summary'
complete -c msgctl -n "__fish_msgctl_needs_command" -f -a "recv" -d 'Print the messages that come for a client'
complete -c msgctl -n "__fish_msgctl_needs_command" -f -a "drain" -d 'Have clients take no more messages, and wait until they have ended: other instances go on'
complete -c msgctl -n "__fish_msgctl_needs_command" -f -a "call" -d 'Call a procedure of another process, and print its reply'
complete -c msgctl -n "__fish_msgctl_needs_command" -f -a "serve" -d 'Serve a procedure: run a command for each call'
complete -c msgctl -n "__fish_msgctl_needs_command" -f -a "bench" -d 'Measure how fast messages are: there and back, or as fast as they go'
complete -c msgctl -n "__fish_msgctl_needs_command" -f -a "reload" -d 'Have the daemon reread its config; fail with its reason if it keeps the one that it has'
complete -c msgctl -n "__fish_msgctl_needs_command" -f -a "demo" -d 'Run two daemons on this machine over a bad network, replace a client by takeover, and check that the promise is kept'
complete -c msgctl -n "__fish_msgctl_needs_command" -f -a "completions" -d 'Print what makes a shell complete `msgctl`'
complete -c msgctl -n "__fish_msgctl_needs_command" -f -a "demo-node" -d 'A daemon of the demo, in this process'
complete -c msgctl -n "__fish_msgctl_needs_command" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c msgctl -n "__fish_msgctl_using_subcommand status" -l runtime-dir -d 'The daemon\'s runtime directory, where `msgd.sock` and `status.sock` are [default: $XDG_RUNTIME_DIR/msgd, else /run/msgd]' -r -F
complete -c msgctl -n "__fish_msgctl_using_subcommand status" -l json -d 'Print JSON instead of tables: one document, or with `recv` one object a line'
complete -c msgctl -n "__fish_msgctl_using_subcommand status" -s h -l help -d 'Print help'
complete -c msgctl -n "__fish_msgctl_using_subcommand clients" -l runtime-dir -d 'The daemon\'s runtime directory, where `msgd.sock` and `status.sock` are [default: $XDG_RUNTIME_DIR/msgd, else /run/msgd]' -r -F
complete -c msgctl -n "__fish_msgctl_using_subcommand clients" -l json -d 'Print JSON instead of tables: one document, or with `recv` one object a line'
complete -c msgctl -n "__fish_msgctl_using_subcommand clients" -s h -l help -d 'Print help'
complete -c msgctl -n "__fish_msgctl_using_subcommand peers" -l runtime-dir -d 'The daemon\'s runtime directory, where `msgd.sock` and `status.sock` are [default: $XDG_RUNTIME_DIR/msgd, else /run/msgd]' -r -F
complete -c msgctl -n "__fish_msgctl_using_subcommand peers" -l json -d 'Print JSON instead of tables: one document, or with `recv` one object a line'
complete -c msgctl -n "__fish_msgctl_using_subcommand peers" -s h -l help -d 'Print help'
complete -c msgctl -n "__fish_msgctl_using_subcommand chain" -l runtime-dir -d 'The daemon\'s runtime directory, where `msgd.sock` and `status.sock` are [default: $XDG_RUNTIME_DIR/msgd, else /run/msgd]' -r -F
complete -c msgctl -n "__fish_msgctl_using_subcommand chain" -l json -d 'Print JSON instead of tables: one document, or with `recv` one object a line'
complete -c msgctl -n "__fish_msgctl_using_subcommand chain" -s h -l help -d 'Print help'
complete -c msgctl -n "__fish_msgctl_using_subcommand send" -l from -d 'The client to send as; no process may be registered with it at the moment [0 to 4294967295]' -r
complete -c msgctl -n "__fish_msgctl_using_subcommand send" -l to -d 'The client to send to, on any node [0 to 4294967295]' -r
complete -c msgctl -n "__fish_msgctl_using_subcommand send" -l user-buff -d 'User data that comes back if a message fails [at most 64 bytes; default: none]' -r
complete -c msgctl -n "__fish_msgctl_using_subcommand send" -l count -d 'Send it so many times [messages, 1 to 10000000]' -r
complete -c msgctl -n "__fish_msgctl_using_subcommand send" -l rate -d 'Send at most so many a second [messages per second, 1 to 1000000; default: as fast as they are taken]' -r
complete -c msgctl -n "__fish_msgctl_using_subcommand send" -l interval-ms -d 'How long an answer may take before the message is sent again [milliseconds, 10 to 600000; default: the daemon\'s, 1000 unless configured]' -r
complete -c msgctl -n "__fish_msgctl_using_subcommand send" -l times -d 'How often it is sent again before it fails [0 to 255; default: the daemon\'s, 10 unless configured]' -r
complete -c msgctl -n "__fish_msgctl_using_subcommand send" -l runtime-dir -d 'The daemon\'s runtime directory, where `msgd.sock` and `status.sock` are [default: $XDG_RUNTIME_DIR/msgd, else /run/msgd]' -r -F
complete -c msgctl -n "__fish_msgctl_using_subcommand send" -l json -d 'Print JSON instead of tables: one document, or with `recv` one object a line'
complete -c msgctl -n "__fish_msgctl_using_subcommand send" -s h -l help -d 'Print help'
complete -c msgctl -n "__fish_msgctl_using_subcommand recv" -l as -d 'The client to receive as; no process of this node may be registered with it, unless --beside or --takeover says so [0 to 4294967295]' -r
complete -c msgctl -n "__fish_msgctl_using_subcommand recv" -l count -d 'End after so many [messages, 1 to 10000000; default: go on until interrupted]' -r
complete -c msgctl -n "__fish_msgctl_using_subcommand recv" -l priority -d 'Among processes with this clientid, on any node, the highest gets the messages [0 to 255]' -r
complete -c msgctl -n "__fish_msgctl_using_subcommand recv" -l subscribe -d 'Print the instances of this client too, and each change among them; may be given again [0 to 4294967295]' -r
complete -c msgctl -n "__fish_msgctl_using_subcommand recv" -l runtime-dir -d 'The daemon\'s runtime directory, where `msgd.sock` and `status.sock` are [default: $XDG_RUNTIME_DIR/msgd, else /run/msgd]' -r -F
complete -c msgctl -n "__fish_msgctl_using_subcommand recv" -l beside -d 'Register though other processes of this node have the clientid'
complete -c msgctl -n "__fish_msgctl_using_subcommand recv" -l takeover -d 'Take the clientid over from the process that has it, with nothing lost'
complete -c msgctl -n "__fish_msgctl_using_subcommand recv" -l json -d 'Print JSON instead of tables: one document, or with `recv` one object a line'
complete -c msgctl -n "__fish_msgctl_using_subcommand recv" -s h -l help -d 'Print help'
complete -c msgctl -n "__fish_msgctl_using_subcommand drain" -l timeout-ms -d 'Wait at most so long until they have ended, else exit with 1 [milliseconds, 0 to 4294967295; 0: do not wait]' -r
complete -c msgctl -n "__fish_msgctl_using_subcommand drain" -l runtime-dir -d 'The daemon\'s runtime directory, where `msgd.sock` and `status.sock` are [default: $XDG_RUNTIME_DIR/msgd, else /run/msgd]' -r -F
complete -c msgctl -n "__fish_msgctl_using_subcommand drain" -l node -d 'All processes of this node'
complete -c msgctl -n "__fish_msgctl_using_subcommand drain" -l json -d 'Print JSON instead of tables: one document, or with `recv` one object a line'
complete -c msgctl -n "__fish_msgctl_using_subcommand drain" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c msgctl -n "__fish_msgctl_using_subcommand call" -l from -d 'The client to call as; no process may be registered with it at the moment [0 to 4294967295]' -r
complete -c msgctl -n "__fish_msgctl_using_subcommand call" -l to -d 'The client to call, on any node [0 to 4294967295]' -r
complete -c msgctl -n "__fish_msgctl_using_subcommand call" -l procedure -d 'Which of its procedures [0 to 4294967295]' -r
complete -c msgctl -n "__fish_msgctl_using_subcommand call" -l xid -d 'Names the call: who calls again with it repeats the call [1 to 18446744073709551615; default: one that nobody has]' -r
complete -c msgctl -n "__fish_msgctl_using_subcommand call" -l timeout-ms -d 'How long to wait for the reply [milliseconds, 1 to 86400000]' -r
complete -c msgctl -n "__fish_msgctl_using_subcommand call" -l retries -d 'Call again so often, if it is known not to have started' -r
complete -c msgctl -n "__fish_msgctl_using_subcommand call" -l runtime-dir -d 'The daemon\'s runtime directory, where `msgd.sock` and `status.sock` are [default: $XDG_RUNTIME_DIR/msgd, else /run/msgd]' -r -F
complete -c msgctl -n "__fish_msgctl_using_subcommand call" -l repeated -d 'The call may have been made before, with that XID: a server that does not remember it is told so'
complete -c msgctl -n "__fish_msgctl_using_subcommand call" -l at-least-once -d 'Repeat the call until it is answered, though it may have run; that the handler failed, the procedure is not served or the XID was used for another request are answers, too'
complete -c msgctl -n "__fish_msgctl_using_subcommand call" -l json -d 'Print JSON instead of tables: one document, or with `recv` one object a line'
complete -c msgctl -n "__fish_msgctl_using_subcommand call" -s h -l help -d 'Print help'
complete -c msgctl -n "__fish_msgctl_using_subcommand serve" -l as -d 'The client to serve as; no process of this node may be registered with it, unless --beside or --takeover says so [0 to 4294967295]' -r
complete -c msgctl -n "__fish_msgctl_using_subcommand serve" -l priority -d 'Among processes with this clientid, on any node, the highest gets the messages [0 to 255]' -r
complete -c msgctl -n "__fish_msgctl_using_subcommand serve" -l procedure -d 'Which procedure [0 to 4294967295]' -r
complete -c msgctl -n "__fish_msgctl_using_subcommand serve" -l exec -d 'A shell command: the request is its standard input, its standard output the reply. If it fails there is none; if it writes more than a reply can hold, it is stopped. Of a call whose caller waits no more it is not run' -r
complete -c msgctl -n "__fish_msgctl_using_subcommand serve" -l cache -d 'Keep so many replies, from which repeats of a call are answered' -r
complete -c msgctl -n "__fish_msgctl_using_subcommand serve" -l count -d 'End after so many [calls, 1 to 10000000; default: go on until interrupted]' -r
complete -c msgctl -n "__fish_msgctl_using_subcommand serve" -l runtime-dir -d 'The daemon\'s runtime directory, where `msgd.sock` and `status.sock` are [default: $XDG_RUNTIME_DIR/msgd, else /run/msgd]' -r -F
complete -c msgctl -n "__fish_msgctl_using_subcommand serve" -l beside -d 'Register though other processes of this node have the clientid'
complete -c msgctl -n "__fish_msgctl_using_subcommand serve" -l takeover -d 'Take the clientid over from the process that has it, with nothing lost'
complete -c msgctl -n "__fish_msgctl_using_subcommand serve" -l idempotent -d 'Running the command twice is as good as once: repeats run it'
complete -c msgctl -n "__fish_msgctl_using_subcommand serve" -l json -d 'Print JSON instead of tables: one document, or with `recv` one object a line'
complete -c msgctl -n "__fish_msgctl_using_subcommand serve" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c msgctl -n "__fish_msgctl_using_subcommand bench" -l as -d 'The client to serve as [0 to 4294967295]' -r
complete -c msgctl -n "__fish_msgctl_using_subcommand bench" -l from -d 'The client to send as; no process may be registered with it at the moment [0 to 4294967295]' -r
complete -c msgctl -n "__fish_msgctl_using_subcommand bench" -l to -d 'The client to send to, on any node: one that serves [0 to 4294967295]' -r
complete -c msgctl -n "__fish_msgctl_using_subcommand bench" -l work -d 'What to measure' -r -f -a "ping-pong\t'One message there and back at a time: the time that this takes'
one-way\t'As many as are taken: how many that are, and the time until each one\'s outcome is known'"
complete -c msgctl -n "__fish_msgctl_using_subcommand bench" -l size -d 'How long a message is [bytes, 16 to 1048576]' -r
complete -c msgctl -n "__fish_msgctl_using_subcommand bench" -l count -d 'Send so many [messages, 1 to 10000000]' -r
complete -c msgctl -n "__fish_msgctl_using_subcommand bench" -l runtime-dir -d 'The daemon\'s runtime directory, where `msgd.sock` and `status.sock` are [default: $XDG_RUNTIME_DIR/msgd, else /run/msgd]' -r -F
complete -c msgctl -n "__fish_msgctl_using_subcommand bench" -l serve -d 'Be the other side: take what comes and answer it, until interrupted or drained'
complete -c msgctl -n "__fish_msgctl_using_subcommand bench" -l json -d 'Print JSON instead of tables: one document, or with `recv` one object a line'
complete -c msgctl -n "__fish_msgctl_using_subcommand bench" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c msgctl -n "__fish_msgctl_using_subcommand reload" -l runtime-dir -d 'The daemon\'s runtime directory, where `msgd.sock` and `status.sock` are [default: $XDG_RUNTIME_DIR/msgd, else /run/msgd]' -r -F
complete -c msgctl -n "__fish_msgctl_using_subcommand reload" -l json -d 'Print JSON instead of tables: one document, or with `recv` one object a line'
complete -c msgctl -n "__fish_msgctl_using_subcommand reload" -s h -l help -d 'Print help'
complete -c msgctl -n "__fish_msgctl_using_subcommand demo" -l messages -d 'Messages in each direction [1 to 1000000]' -r
complete -c msgctl -n "__fish_msgctl_using_subcommand demo" -l loss -d 'Datagrams that the network between the two daemons loses [percent of each direction, 0 to 50]' -r
complete -c msgctl -n "__fish_msgctl_using_subcommand demo" -l seed -d 'What the network\'s faults and the messages are drawn from [any 64-bit number]' -r
complete -c msgctl -n "__fish_msgctl_using_subcommand demo" -l runtime-dir -d 'The daemon\'s runtime directory, where `msgd.sock` and `status.sock` are [default: $XDG_RUNTIME_DIR/msgd, else /run/msgd]' -r -F
complete -c msgctl -n "__fish_msgctl_using_subcommand demo" -l json -d 'Print JSON instead of tables: one document, or with `recv` one object a line'
complete -c msgctl -n "__fish_msgctl_using_subcommand demo" -s h -l help -d 'Print help'
complete -c msgctl -n "__fish_msgctl_using_subcommand completions" -l runtime-dir -d 'The daemon\'s runtime directory, where `msgd.sock` and `status.sock` are [default: $XDG_RUNTIME_DIR/msgd, else /run/msgd]' -r -F
complete -c msgctl -n "__fish_msgctl_using_subcommand completions" -l json -d 'Print JSON instead of tables: one document, or with `recv` one object a line'
complete -c msgctl -n "__fish_msgctl_using_subcommand completions" -s h -l help -d 'Print help'
complete -c msgctl -n "__fish_msgctl_using_subcommand demo-node" -l parent -d 'The parent: without it the node ends at once' -r
complete -c msgctl -n "__fish_msgctl_using_subcommand demo-node" -l runtime-dir -d 'The daemon\'s runtime directory, where `msgd.sock` and `status.sock` are [default: $XDG_RUNTIME_DIR/msgd, else /run/msgd]' -r -F
complete -c msgctl -n "__fish_msgctl_using_subcommand demo-node" -l json -d 'Print JSON instead of tables: one document, or with `recv` one object a line'
complete -c msgctl -n "__fish_msgctl_using_subcommand demo-node" -s h -l help -d 'Print help'
complete -c msgctl -n "__fish_msgctl_using_subcommand help; and not __fish_seen_subcommand_from status clients peers chain send recv drain call serve bench reload demo completions demo-node help" -f -a "status" -d 'Show the daemon and its counters'
complete -c msgctl -n "__fish_msgctl_using_subcommand help; and not __fish_seen_subcommand_from status clients peers chain send recv drain call serve bench reload demo completions demo-node help" -f -a "clients" -d 'Show the processes that are registered'
complete -c msgctl -n "__fish_msgctl_using_subcommand help; and not __fish_seen_subcommand_from status clients peers chain send recv drain call serve bench reload demo completions demo-node help" -f -a "peers" -d 'Show the other nodes and the links to them'
complete -c msgctl -n "__fish_msgctl_using_subcommand help; and not __fish_seen_subcommand_from status clients peers chain send recv drain call serve bench reload demo completions demo-node help" -f -a "chain" -d 'Show the messages whose outcome is not known yet'
complete -c msgctl -n "__fish_msgctl_using_subcommand help; and not __fish_seen_subcommand_from status clients peers chain send recv drain call serve bench reload demo completions demo-node help" -f -a "send" -d 'Send messages, wait for their outcomes and print a summary'
complete -c msgctl -n "__fish_msgctl_using_subcommand help; and not __fish_seen_subcommand_from status clients peers chain send recv drain call serve bench reload demo completions demo-node help" -f -a "recv" -d 'Print the messages that come for a client'
complete -c msgctl -n "__fish_msgctl_using_subcommand help; and not __fish_seen_subcommand_from status clients peers chain send recv drain call serve bench reload demo completions demo-node help" -f -a "drain" -d 'Have clients take no more messages, and wait until they have ended: other instances go on'
complete -c msgctl -n "__fish_msgctl_using_subcommand help; and not __fish_seen_subcommand_from status clients peers chain send recv drain call serve bench reload demo completions demo-node help" -f -a "call" -d 'Call a procedure of another process, and print its reply'
complete -c msgctl -n "__fish_msgctl_using_subcommand help; and not __fish_seen_subcommand_from status clients peers chain send recv drain call serve bench reload demo completions demo-node help" -f -a "serve" -d 'Serve a procedure: run a command for each call'
complete -c msgctl -n "__fish_msgctl_using_subcommand help; and not __fish_seen_subcommand_from status clients peers chain send recv drain call serve bench reload demo completions demo-node help" -f -a "bench" -d 'Measure how fast messages are: there and back, or as fast as they go'
complete -c msgctl -n "__fish_msgctl_using_subcommand help; and not __fish_seen_subcommand_from status clients peers chain send recv drain call serve bench reload demo completions demo-node help" -f -a "reload" -d 'Have the daemon reread its config; fail with its reason if it keeps the one that it has'
complete -c msgctl -n "__fish_msgctl_using_subcommand help; and not __fish_seen_subcommand_from status clients peers chain send recv drain call serve bench reload demo completions demo-node help" -f -a "demo" -d 'Run two daemons on this machine over a bad network, replace a client by takeover, and check that the promise is kept'
complete -c msgctl -n "__fish_msgctl_using_subcommand help; and not __fish_seen_subcommand_from status clients peers chain send recv drain call serve bench reload demo completions demo-node help" -f -a "completions" -d 'Print what makes a shell complete `msgctl`'
complete -c msgctl -n "__fish_msgctl_using_subcommand help; and not __fish_seen_subcommand_from status clients peers chain send recv drain call serve bench reload demo completions demo-node help" -f -a "demo-node" -d 'A daemon of the demo, in this process'
complete -c msgctl -n "__fish_msgctl_using_subcommand help; and not __fish_seen_subcommand_from status clients peers chain send recv drain call serve bench reload demo completions demo-node help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
