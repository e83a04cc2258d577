//! Holds the README against the code. `UPDATE_DOCS=1 cargo test -p msg-tests --test docs` writes its table of counters anew.

use std::{collections::BTreeSet, fmt::Write as _, fs, path::Path};

use msg_proto::counters::Counter;

const README: &str = include_str!("../../README.md");
const EXAMPLE: &str = include_str!("../../daemon/msgd.toml.example");
const BEGIN: &str = "<!-- counters: begin -->\n";
const END: &str = "<!-- counters: end -->";

#[test]
fn the_readme_lists_the_counters() {
    let (before, rest) = README.split_once(BEGIN).expect("the table's begin");
    let (written, after) = rest.split_once(END).expect("the table's end");
    let mut table = "| counter | what it counts |\n|---|---|\n".to_owned();
    for counter in Counter::ALL {
        writeln!(table, "| `{}` | {} |", counter.name(), counter.help()).expect("a String takes it");
    }
    if std::env::var_os("UPDATE_DOCS").is_some() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md");
        fs::write(path, [before, BEGIN, &table, END, after].concat()).expect("README.md is written");
        return;
    }
    assert_eq!(written, table, "UPDATE_DOCS=1 writes it anew");
}

#[test]
fn the_readme_has_every_key_of_the_example_config() {
    let mut section = "";
    let mut keys = BTreeSet::new();
    for line in EXAMPLE.lines() {
        let line = line.strip_prefix("# ").unwrap_or(line);
        if let Some(name) = line.strip_prefix('[') {
            section = name.trim_matches(['[', ']']);
        } else if let Some((key, _)) = line.split_once(" = ")
            && key.chars().all(|c| c.is_ascii_lowercase() || c == '_')
        {
            keys.insert(format!("{section}.{key}"));
        }
    }
    let is_key = |cell: &str| cell.contains('.') && !cell.contains(' ');
    let cells = README.lines().filter_map(|l| l.strip_prefix("| `")?.split_once('`'));
    let listed: BTreeSet<_> = cells.map(|(key, _)| key.to_owned()).filter(|c| is_key(c)).collect();
    assert_eq!(listed, keys);
}
