complete -c msgd -l config -d 'Read this config file (TOML); without one, everything has a default' -r -F
complete -c msgd -l node -d 'This node\'s name, instead of node.name [default: the host name]' -r
complete -c msgd -l listen -d 'Listen here for other nodes, instead of on node.listen [default: 127.0.0.1:7400]' -r
complete -c msgd -l peer -d 'Another node and its addresses; replaces the config\'s peer of that name' -r
complete -c msgd -l runtime-dir -d 'Where msgd.sock and status.sock are [default: $XDG_RUNTIME_DIR/msgd, else /run/msgd]' -r -F
complete -c msgd -l check-config -d 'Check the config and the command line, print one line, and exit'
complete -c msgd -s h -l help -d 'Print help'
complete -c msgd -s V -l version -d 'Print version'
