use super::{draft::KEYS, *};
use clap::Parser as _;
use msg_proto::{
    engine::Recovery,
    ids::ClientId,
    limits::{self, MIN_MTU},
};

fn parse(text: &str, words: &[&str]) -> Result<Config, String> {
    let words = [&["msgd"], words].concat();
    let args = Args::try_parse_from(words).expect("a command line");
    Config::parse(Path::new("f.toml"), text, &args).map_err(|error| error.to_string())
}

#[test]
fn without_a_file_everything_has_a_default() {
    let config = parse("", &[]).expect("a config");
    assert_eq!(config.node(), crate::sys::host_name());
    assert_eq!(config.listen(), ["127.0.0.1:7400".parse().expect("an address")]);
    assert_eq!(config.runtime_dir(), default_runtime_dir());
    assert!(config.warnings().is_empty());
    let engine = config.engine(1, 2, 3);
    assert_eq!((engine.start, engine.seed, engine.receive_window, engine.listeners), (1, 2, 3, 1));
    assert_eq!((engine.mtu, config.spin()), (MIN_MTU, Span::ZERO));
    assert_eq!(engine.chain.interval, Span::from_millis(1000));
    assert_eq!((engine.chain.times, engine.chain.max_stored), (10, 1000));
    assert_eq!(engine.chain.recovery, Recovery::Adaptive);
    assert_eq!(engine.limits.max_message_bytes, limits::MAX_MESSAGE_BYTES);
    assert_eq!(engine.limits.max_clients, limits::DEFAULT_MAX_CLIENTS);
    assert_eq!(engine.limits.client_queue_bytes, limits::DEFAULT_CLIENT_QUEUE_BYTES);
    assert!(engine.peers.is_empty() && engine.clients.is_empty());
}

#[test]
fn the_example_is_right_with_every_key_uncommented() {
    let example = include_str!("../../../systemd/msgd.toml");
    assert!(parse(example, &[]).is_ok(), "as it is installed");
    let is_value = |line: &str| {
        let key = line.trim_start_matches("# ").split(" = ").next().unwrap_or_default();
        line.starts_with("# [[") || KEYS.iter().any(|(_, keys)| keys.contains(&key))
    };
    let lines = example.lines().map(|line| if is_value(line) { line.trim_start_matches("# ") } else { line });
    let text =
        lines.collect::<Vec<_>>().join("\n").replace("allow_plaintext = false", "allow_plaintext = true");
    let config = parse(&text, &[]).expect("a config");
    for key in KEYS.iter().flat_map(|(_, keys)| *keys) {
        assert!(
            text.lines().any(|line| line.starts_with(&format!("{key} = "))),
            "{key} is not in the example"
        );
    }
    let told: Vec<_> = keys::keys().iter().map(|key| (key.section, key.name)).collect();
    let read: Vec<_> =
        KEYS.iter().flat_map(|(section, keys)| keys.iter().map(|key| (*section, *key))).collect();
    assert_eq!(told, read, "what is told of is what is read");
    assert_eq!(config.node(), "vm-a");
    assert_eq!(config.listen().len(), 2);
    assert_eq!(config.runtime_dir(), Path::new("/run/msgd"));
    let engine = config.engine(0, 0, 0);
    assert_eq!(
        engine.peers.first().map(|peer| (peer.name.as_str(), peer.addresses.len())),
        Some(("vm-b", 2))
    );
    let rule = engine.clients.first().expect("a rule");
    assert_eq!((rule.id, rule.uid, rule.gid), (ClientId(100), Some(0), Some(0)));
    assert_eq!(rule.may_send_to, Some(vec![ClientId(200)]));
    // Every default that the example shows is the default.
    let default = parse("", &[]).expect("a config").engine(0, 0, 0);
    assert_eq!(format!("{:?}", engine.chain), format!("{:?}", default.chain));
    assert_eq!(format!("{:?}", engine.limits), format!("{:?}", default.limits));
    assert_eq!((engine.mtu, engine.grace), (default.mtu, default.grace));
    assert_eq!(config.log_level(), Level::Info);
    assert_eq!(config.warnings().len(), 2, "the two keys: {:?}", config.warnings());
}

#[test]
fn every_value_reaches_the_engine() {
    let text = "[node]\nname='n'\nmtu=9000\nmax_mtu=9216\nspin_us=50\ngrace_ms=7\n[log]\nlevel='debug'\n[chain]\ninterval_ms=0x14\ntimes=0\nmax_stored=65_536\n\
                adaptive=false\n[limits]\nmax_message_bytes=1\nmax_clients=2\nclient_queue_bytes=2097152\n";
    let config = parse(text, &[]).expect("a config");
    let engine = config.engine(0, 0, 0);
    assert_eq!((engine.node.as_str(), engine.mtu, config.spin()), ("n", 9000, Span(50)));
    assert_eq!(engine.max_mtu, 9216);
    assert_eq!((engine.grace, config.log_level()), (Span::from_millis(7), Level::Debug));
    assert_eq!((engine.chain.interval, engine.chain.times), (Span::from_millis(20), 0));
    assert_eq!((engine.chain.max_stored, engine.chain.recovery), (65_536, Recovery::TimerOnly));
    let limits = engine.limits;
    assert_eq!((limits.max_message_bytes, limits.max_clients, limits.client_queue_bytes), (1, 2, 2_097_152));
}

#[test]
fn the_command_line_replaces_what_the_file_says() {
    let text = "[node]\nname='a'\nlisten=['10.0.0.1:1']\nruntime_dir='/x'\n\
                [[peer]]\nname='b'\naddresses=['127.0.0.1:2']\n[[peer]]\nname='c'\naddresses=['127.0.0.1:3']\n";
    let words = ["--node", "z", "--listen", "127.0.0.1:0", "--listen", "[::1]:5", "--runtime-dir", "/y"];
    let words = [&words[..], &["--peer", "c=127.0.0.1:4,[::1]:4", "--peer", "d=127.0.0.9:5"]].concat();
    let config = parse(text, &words).expect("a config");
    assert_eq!(config.to_string(), "node z, listen 127.0.0.1:0, [::1]:5, runtime dir /y, peers b, c, d");
    let addresses: Vec<usize> = config.peers().iter().map(|peer| peer.addresses.len()).collect();
    assert_eq!(addresses, [1, 2, 1]);
    assert_eq!(config.client_socket(), Path::new("/y/msgd.sock"));
    assert_eq!(config.status_socket(), Path::new("/y/status.sock"));
}

#[test]
fn plaintext_stays_on_loopback_unless_allowed() {
    let open = "[node]\nname='a'\nlisten=['10.0.0.1:1']\n";
    for text in [open.to_owned(), format!("{open}[security]\nmode='none'\nallow_plaintext=false\n")] {
        let error = parse(&text, &[]).expect_err("refused");
        assert!(error.starts_with("f.toml:3: node.listen: 10.0.0.1:1 is not a loopback address"), "{error}");
    }
    assert!(parse(&format!("{open}[security]\nallow_plaintext=true\n"), &[]).is_ok());
    assert!(parse("", &["--listen", "127.5.5.5:1", "--listen", "[::1]:1"]).is_ok());
    for address in ["0.0.0.0:1", "[::]:1", "[::ffff:10.0.0.1]:1"] {
        let error = parse("", &["--listen", address]).expect_err("refused");
        assert!(error.starts_with("msgd: --listen: ") && error.contains("loopback"), "{error}");
    }
}

#[test]
fn a_path_that_cannot_carry_anything_is_warned_of() {
    let warnings = |words: &[&str]| -> Vec<String> {
        parse("", words).expect("a config").warnings().iter().map(ToString::to_string).collect()
    };
    assert_eq!(
        warnings(&["--peer", "b=10.0.0.2:1"]),
        ["msgd: --peer: 10.0.0.2:1 cannot be reached: its path starts at listener 127.0.0.1:7400, \
          which is a loopback address"]
    );
    let both = ["--listen", "127.0.0.1:1", "--listen", "[::1]:1"];
    let crossed = [&both[..], &["--peer", "b=[::1]:2,127.0.0.1:2"]].concat();
    assert_eq!(warnings(&crossed).len(), 2);
    let straight = [&both[..], &["--peer", "b=127.0.0.1:2,[::1]:2,127.0.0.1:3"]].concat();
    assert_eq!(warnings(&straight).len(), 0);
}

/// Text, and what it is refused with.
const REFUSED: &[(&str, &str)] = &[
    ("nodes = 1", "f.toml:1: nodes: unknown key; allowed: node, chain, limits, security, log, peer, client"),
    (
        "[node]\n\nz = 1\na = 1",
        "f.toml:3: node.z: unknown key; allowed: name, listen, runtime_dir, mtu, max_mtu, spin_us, grace_ms",
    ),
    ("node = 3", "f.toml:1: node: is an integer; allowed: a [node] table"),
    ("peer = 3", "f.toml:1: peer: is an integer; allowed: [[peer]] tables"),
    ("[peer]\nname='b'", "f.toml:1: peer: is a table; allowed: [[peer]] tables"),
    ("[node]\nname = 3", "f.toml:2: node.name: is an integer; allowed: a string"),
    (
        "[node]\nname = 'a\\b'",
        "f.toml:2: node.name: \"a\\\\b\" is not a node's name; allowed: 1 to 64 letters, digits, `-`, `.`, `_`",
    ),
    (
        "[node]\nname = ''",
        "f.toml:2: node.name: \"\" is not a node's name; allowed: 1 to 64 letters, digits, `-`, `.`, `_`",
    ),
    ("[node]\nruntime_dir = ''", "f.toml:2: node.runtime_dir: is empty; allowed: a directory"),
    ("[node]\nlisten = '127.0.0.1:1'", "f.toml:2: node.listen: is a string; allowed: a list of strings"),
    ("[node]\nlisten = []", "f.toml:2: node.listen: 0 addresses; allowed: 1 to 8, each IP:PORT"),
    ("[node]\nlisten = [\n  '127.0.0.1:1',\n  4]", "f.toml:4: node.listen: is an integer; allowed: a string"),
    (
        "[node]\nlisten = ['localhost:1']",
        "f.toml:2: node.listen: \"localhost:1\" is not an address; \
         allowed: IP:PORT, like 10.0.0.2:7400 or [fd00::2]:7400 (no host names)",
    ),
    (
        "[node]\nlisten = ['127.0.0.1:1', '127.0.0.1:1']",
        "f.toml:2: node.listen: \"127.0.0.1:1\" is there twice; allowed: each address once in listen",
    ),
    ("[node]\nmtu = 1199", "f.toml:2: node.mtu: 1199 is out of range; allowed: 1200 to 65000"),
    ("[node]\nmax_mtu = 9", "f.toml:2: node.max_mtu: 9 is out of range; allowed: 1200 to 65000"),
    ("[node]\nmtu = 65001", "f.toml:2: node.mtu: 65001 is out of range; allowed: 1200 to 65000"),
    ("[node]\nspin_us = -1", "f.toml:2: node.spin_us: -1 is out of range; allowed: 0 to 10000"),
    ("[chain]\ninterval_ms = 0", "f.toml:2: chain.interval_ms: 0 is out of range; allowed: 10 to 600000"),
    ("[chain]\ninterval_ms = '1s'", "f.toml:2: chain.interval_ms: is a string; allowed: 10 to 600000"),
    (
        "[chain]\ninterval_ms = 1.5",
        "f.toml:2: chain.interval_ms: is a floating-point number; allowed: 10 to 600000",
    ),
    ("[chain]\ntimes = 256", "f.toml:2: chain.times: 256 is out of range; allowed: 0 to 255"),
    ("[chain]\nmax_stored = 0", "f.toml:2: chain.max_stored: 0 is out of range; allowed: 1 to 65536"),
    ("[chain]\nadaptive = 1", "f.toml:2: chain.adaptive: is an integer; allowed: true, false"),
    (
        "[limits]\nmax_message_bytes = 1048577",
        "f.toml:2: limits.max_message_bytes: 1048577 is out of range; allowed: 1 to 1048576",
    ),
    ("[limits]\nmax_clients = 0", "f.toml:2: limits.max_clients: 0 is out of range; allowed: 1 to 16384"),
    (
        "[limits]\nclient_queue_bytes = 99999999999999999999",
        "f.toml:2: limits.client_queue_bytes: 99999999999999999999 is out of range; allowed: 2097152 to 1073741824",
    ),
    (
        "[security]\nmode = 'noise'",
        "f.toml:2: security.mode: encryption is not available in this version; set mode = \"none\", and \
         allow_plaintext = true if listeners that are not loopback may go without it",
    ),
    ("[security]\nmode = 'tls'", "f.toml:2: security.mode: \"tls\" is not a mode; allowed: \"none\""),
    ("\n[[peer]]\naddresses=['127.0.0.1:1']", "f.toml:2: peer.name: is missing; each [[peer]] needs it"),
    ("[[peer]]\nname='b'", "f.toml:1: peer.addresses: is missing; each [[peer]] needs it"),
    (
        "[[peer]]\nname='b'\naddresses=[]",
        "f.toml:3: peer.addresses: 0 addresses; allowed: 1 to 8, each IP:PORT",
    ),
    (
        "[[peer]]\nname='b'\naddresses=['1.2.3.4']",
        "f.toml:3: peer.addresses: \"1.2.3.4\" is not an address; \
         allowed: IP:PORT, like 10.0.0.2:7400 or [fd00::2]:7400 (no host names)",
    ),
    (
        "[[peer]]\nname='b'\naddresses=['1.2.3.4:0']",
        "f.toml:3: peer.addresses: \"1.2.3.4:0\" has port 0; \
         allowed: IP:PORT, like 10.0.0.2:7400 or [fd00::2]:7400 (no host names)",
    ),
    (
        "[[peer]]\nname='b'\naddresses=['127.0.0.1:1']\n[[peer]]\nname='b'\naddresses=['127.0.0.1:2']",
        "f.toml:5: peer.name: \"b\" is there twice; allowed: one [[peer]] for each node",
    ),
    (
        "[node]\nname='a'\n[[peer]]\nname='a'\naddresses=['127.0.0.1:1']",
        "f.toml:4: peer.name: \"a\" is this node's own name; allowed: names of other nodes",
    ),
    ("[[client]]\nuser='root'", "f.toml:1: client.id: is missing; each [[client]] needs it"),
    (
        "[[client]]\nid=4294967296",
        "f.toml:2: client.id: 4294967296 is out of range; allowed: 0 to 4294967295",
    ),
    (
        "[[client]]\nid=1\n[[client]]\nid=1",
        "f.toml:4: client.id: 1 is there twice; allowed: one [[client]] for each id",
    ),
    (
        "[[client]]\nid=1\nuser='no such user'",
        "f.toml:3: client.user: no user \"no such user\"; allowed: the name or number of a user of this system",
    ),
    (
        "[[client]]\nid=1\ngroup='no such group'",
        "f.toml:3: client.group: no group \"no such group\"; allowed: the name or number of a group of this system",
    ),
    (
        "[[client]]\nid=1\nmay_send_to=2",
        "f.toml:3: client.may_send_to: is an integer; allowed: a list of integers",
    ),
    (
        "[[client]]\nid=1\nmay_send_to=[2,-3]",
        "f.toml:3: client.may_send_to: -3 is out of range; allowed: 0 to 4294967295",
    ),
    ("[node]\nname = 'a", "f.toml:2: syntax: invalid literal string, expected `'`; the file must be TOML"),
    ("[node]\n[node]\n", "f.toml:2: syntax: duplicate key; the file must be TOML"),
];

#[test]
fn what_is_wrong_is_said_in_one_line_with_what_is_allowed() {
    for (text, expected) in REFUSED {
        assert_eq!(parse(text, &[]).expect_err(text), *expected, "for {text:?}");
    }
}

#[test]
fn nothing_in_a_file_breaks_the_one_line() {
    let error = parse("[node]\nname = \"a\\nb\\u0007\"", &[]).expect_err("refused");
    assert!(!error.chars().any(char::is_control), "{error:?}");
    let error = parse("[node]\n\"a\\nb\" = 1", &[]).expect_err("refused");
    assert!(!error.chars().any(char::is_control), "{error:?}");
}

#[test]
fn what_is_wrong_on_the_command_line_is_said_in_one_line() {
    for (words, expected) in [
        (
            &["--listen", "7400"][..],
            "msgd: --listen: \"7400\" is not an address; allowed: IP:PORT, like 10.0.0.2:7400 or [fd00::2]:7400 (no host names)",
        ),
        (
            &["--peer", "b"],
            "msgd: --peer: \"b\" has no `=`; allowed: NAME=ADDR[,ADDR], like vm-b=10.0.0.2:7400",
        ),
        (
            &["--peer", "b="],
            "msgd: --peer: \"\" is not an address; allowed: IP:PORT, like 10.0.0.2:7400 or [fd00::2]:7400 (no host names)",
        ),
        (
            &["--peer", "=127.0.0.1:1"],
            "msgd: --peer: \"\" is not a node's name; allowed: 1 to 64 letters, digits, `-`, `.`, `_`",
        ),
        (
            &["--peer", "b=127.0.0.1:1", "--peer", "b=127.0.0.1:2"],
            "msgd: --peer: \"b\" is given twice; allowed: one --peer for each node",
        ),
        (
            &["--node", "b", "--peer", "b=127.0.0.1:1"],
            "msgd: --peer: \"b\" is this node's own name; allowed: names of other nodes",
        ),
        (
            &["--node", "a b"],
            "msgd: --node: \"a b\" is not a node's name; allowed: 1 to 64 letters, digits, `-`, `.`, `_`",
        ),
    ] {
        assert_eq!(parse("", words).expect_err("refused"), expected, "for {words:?}");
    }
}

#[test]
fn a_reload_is_refused_for_a_key_that_cannot_change_and_for_no_other() {
    let text = |node: &str| format!("[node]\nname='a'\nlisten=['127.0.0.1:1']\nruntime_dir='/x'\n{node}");
    let old = parse(&text(""), &[]).expect("a config");
    for (new, key) in [
        (text("").replace("'a'", "'b'"), "node.name"),
        (text("").replace("127.0.0.1:1", "127.0.0.1:2"), "node.listen"),
        (text("").replace("/x", "/y"), "node.runtime_dir"),
        (text("mtu=1300"), "node.mtu"),
        (text("max_mtu=1300"), "node.max_mtu"),
        (text("[chain]\nadaptive=false"), "chain.adaptive"),
    ] {
        let error = old.check_reload(&parse(&new, &[]).expect("a config")).expect_err("refused").to_string();
        assert!(error.contains(&format!("{key}: cannot change from ")) && !error.contains('\n'), "{error}");
    }
    let new = "spin_us=1\ngrace_ms=1\n[chain]\ninterval_ms=10\ntimes=1\nmax_stored=1\n[limits]\nmax_clients=1\n[log]\n\
               level='warn'\n[[peer]]\nname='b'\naddresses=['127.0.0.1:9']\n[[client]]\nid=1\n";
    old.check_reload(&parse(&text(new), &[]).expect("a config")).expect("accepted");
}
