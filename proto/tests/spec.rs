//! Holds `SPEC.md` against the code, where the two say the same thing.
//!
//! `UPDATE_SPEC=1 cargo test -p msg-proto --test spec` writes the table of limits anew.

use std::{collections::BTreeSet, fs, path::Path};

use msg_proto::{counters::Counter, limits, local, wire};

const SPEC: &str = include_str!("../SPEC.md");
const SOURCE: &str = include_str!("../src/limits.rs");
const RULES: &str = include_str!("rules/main.rs");
const BEGIN: &str = "<!-- limits: begin -->\n";
const END: &str = "<!-- limits: end -->\n";

macro_rules! values {
    ($($name:ident,)+) => { [$((stringify!($name), limits::$name.to_string())),+] };
}

/// The constants' names and values, as the compiler has them.
fn values() -> impl Iterator<Item = (&'static str, String)> {
    values![
        MAX_USER_BYTES,
        MAX_MESSAGE_BYTES,
        DEFAULT_MAX_STORED,
        MAX_STORED_CEILING,
        SEQ_SPAN,
        MSGID_SPAN,
        DEFAULT_TIMES,
        DEFAULT_INTERVAL_MS,
        MIN_INTERVAL_MS,
        MAX_INTERVAL_MS,
        DEFAULT_MAX_CLIENTS,
        MAX_CLIENTS_CEILING,
        MAX_UNREGISTERED,
        REGISTER_TIMEOUT_MS,
        DEFAULT_CLIENT_QUEUE_BYTES,
        MIN_CLIENT_QUEUE_BYTES,
        MAX_CLIENT_QUEUE_BYTES,
        DELIVERY_WINDOW_BYTES,
        DELIVERY_WINDOW_MESSAGES,
        SUCCESSOR_WAIT_MS,
        MAX_FLOWS_PER_CLIENT,
        MAX_PEERS,
        MAX_PATHS,
        MAX_NODE_NAME_BYTES,
        MAX_CLIENT_NAME_BYTES,
        MIN_MTU,
        MAX_MTU,
        FRAGMENT_UNIT,
        MAX_FRAGMENT_UNITS,
        HELLO_DATAGRAM_BYTES,
        MAX_CONTROL_BODY_BYTES,
        MAX_NACK_TEXT_BYTES,
        MAX_LOCAL_FRAME_BYTES,
        MAX_CONTROL_QUEUE,
        REPLAY_WINDOW,
        MAX_ACK_RANGES,
        CLOCK_WINDOW_MS,
        CLOCK_DRIFT_PPM,
        CLOCK_GAP_MS,
        HEARTBEAT_MS,
        LINK_LOST_MS,
        HELLO_MS,
        MAX_HELLO_ANSWERS,
        LAST_COPY_SLACK_MS,
        DEFAULT_GRACE_MS,
        MAX_GRACE_MS,
        SWEEP_MS,
        TOMBSTONE_MS,
        EXPIRE_MS,
        SOURCE_GONE_INTERVALS,
        MAX_DEPARTED,
        MAX_PENDING_CALLS,
        MAX_PENDING_CALL_BYTES,
        MAX_SERVED_CALLS,
        MAX_SERVED_BYTES,
        DEFAULT_REPLY_CACHE_BYTES,
        DEFAULT_REPLY_CACHE_AGE_MS,
        REPLY_CACHE_ENTRY_BYTES,
        MAX_CALL_TIMEOUT_MS,
        CALL_GRACE_MS,
        MAX_PRESENT,
        MAX_SUBSCRIPTIONS,
        MAX_WATCHES,
        MAX_WATCHED,
    ]
    .into_iter()
}

/// The public constants of `limits.rs` with their doc comments, in the source's order.
fn documented() -> Vec<(&'static str, String)> {
    let (mut found, mut doc) = (Vec::new(), String::new());
    for line in SOURCE.lines() {
        if let Some(text) = line.strip_prefix("///") {
            doc.push_str(text);
        } else if let Some(rest) = line.strip_prefix("pub const ") {
            let name = rest.split(':').next().unwrap_or_default();
            let why = doc.replace("[`", "`").replace("`]", "`").trim().to_owned();
            found.push((name, why));
            doc.clear();
        } else {
            doc.clear();
        }
    }
    found
}

/// 65536 as the text writes it: 65,536.
fn grouped(digits: &str) -> String {
    let groups: Vec<_> = digits.as_bytes().rchunks(3).rev().map(String::from_utf8_lossy).collect();
    groups.join(",")
}

fn limits_table() -> String {
    let mut table = "| limit | value | what, and why |\n|---|---:|---|\n".to_owned();
    for (name, why) in documented() {
        let value = values().find(|(n, _)| *n == name).map(|(_, value)| grouped(&value));
        let value = value.unwrap_or_else(|| panic!("{name} is missing from the list in this test"));
        table.push_str(&format!("| `{name}` | {value} | {why} |\n"));
    }
    table
}

#[test]
fn the_limits_are_those_of_the_code() {
    let (before, rest) = SPEC.split_once(BEGIN).expect("the table's begin");
    let (written, after) = rest.split_once(END).expect("the table's end");
    let table = limits_table();
    assert_eq!(documented().len(), values().count(), "each constant once");
    if std::env::var_os("UPDATE_SPEC").is_some() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("SPEC.md");
        fs::write(path, [before, BEGIN, &table, END, after].concat()).expect("SPEC.md is written");
        return;
    }
    assert_eq!(written, table, "UPDATE_SPEC=1 writes it anew");
}

/// The rows of a table whose first cell begins with `first`.
fn rows(first: char) -> Vec<Vec<&'static str>> {
    let cells = |line: &'static str| line.trim_matches('|').split('|').map(str::trim).collect::<Vec<_>>();
    let rows = SPEC.lines().filter(|l| l.starts_with(&format!("| {first}"))).map(cells);
    rows.filter(|r| r[0].len() == 2 && r[0].ends_with(|c: char| c.is_ascii_digit())).collect()
}

#[test]
fn each_rule_has_its_place_and_its_counter() {
    let rules = rows('R');
    let names: Vec<_> = rules.iter().map(|r| r[0]).collect();
    assert_eq!(names, ["R1", "R2", "R3", "R4", "R5", "R6", "R7", "R8", "R9"]);
    let counters: BTreeSet<_> = Counter::ALL.iter().map(|c| format!("`{}`", c.name())).collect();
    for rule in &rules {
        let [name, code, counter, test] = rule[..] else { panic!("{rule:?}") };
        assert!(!code.is_empty() && !test.is_empty(), "{name}");
        assert!(counters.contains(counter), "{name}: {counter} is not counted");
        let function = format!("fn {}(", test.trim_matches('`'));
        assert!(RULES.contains(&function), "{name}: no test {test} in tests/rules");
        assert_eq!(SPEC.matches(&format!("\n* **{name}** ")).count(), 1, "{name} is one sentence, once");
    }
    for n in 1..=7 {
        assert_eq!(SPEC.matches(&format!("\n* **I{n} ")).count(), 1, "I{n} stands there once");
    }
}

/// Numbers in the text, beside the table.
#[test]
fn the_text_names_the_numbers_of_the_code() {
    let head = format!("exactly {} bytes", limits::HELLO_DATAGRAM_BYTES);
    let size = |n: usize| grouped(&n.to_string());
    let says = [
        head,
        format!("never more than {}", size(limits::MAX_MTU)),
        format!("({} bytes unless more was found", size(limits::MIN_MTU)),
        format!("further back than the last {}", grouped(&limits::REPLAY_WINDOW.to_string())),
        format!("At most {} ranges", limits::MAX_ACK_RANGES),
        format!("`length` is {} to {}.", local::HEAD_BYTES, size(limits::MAX_LOCAL_FRAME_BYTES)),
        format!("units of {} bytes", size(limits::FRAGMENT_UNIT)),
        format!("`total` over {}", size(limits::MAX_MESSAGE_BYTES)),
        format!(
            "({} to {}; 0: the daemon's)",
            limits::MIN_INTERVAL_MS,
            size(limits::MAX_INTERVAL_MS as usize)
        ),
        format!("(at most {}; 0: the daemon's)", size(limits::MAX_STORED_CEILING as usize)),
        format!("text string (at most {} bytes)", limits::MAX_NACK_TEXT_BYTES),
        format!("1 to {}) consecutive msgids", size(limits::MSGID_SPAN as usize)),
        format!("`seq` on (1 to {})", size(limits::SEQ_SPAN as usize)),
        format!(
            "({} bytes, {} messages)",
            size(limits::DELIVERY_WINDOW_BYTES),
            size(limits::DELIVERY_WINDOW_MESSAGES)
        ),
        format!("(now - m) * {} / 1,000,000", limits::CLOCK_DRIFT_PPM),
        format!("older than {} s is forgotten", limits::CLOCK_WINDOW_MS / 1000),
        format!("silent for {} s is down", limits::LINK_LOST_MS / 1000),
        format!("comes within {} s", limits::REGISTER_TIMEOUT_MS / 1000),
        format!("its hello, {} ms after the first", limits::HELLO_MS),
        format!("{:4} |            frames ...", wire::HEADER_BYTES),
    ];
    let text = SPEC.split_whitespace().collect::<Vec<_>>().join(" ");
    for phrase in says {
        let phrase = phrase.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(text.contains(&phrase), "not in SPEC.md: {phrase}");
    }
    for range in [wire::VERSIONS, local::VERSIONS] {
        assert_eq!(range.lowest, range.highest, "a second version: section 7 has to say so");
        assert!(text.contains(&format!("This is version {} of both formats", range.highest)));
    }
}
