//! Holds what is written about the code against the code: tables in the README, the installed config, manual pages,
//! completions. `UPDATE_DOCS=1 cargo test -p msg-tests --test docs` writes them anew.

mod config;
mod pages;

use std::{env, fmt::Write as _, fs, path::Path};

use msg_proto::counters::Counter;

#[test]
fn the_readme_lists_the_counters() {
    let mut table = "| counter | what it counts |\n|---|---|\n".to_owned();
    for counter in Counter::ALL {
        writeln!(table, "| `{}` | {} |", counter.name(), counter.help()).expect("a String takes it");
    }
    in_readme("counters", &table);
}

/// A table of the README, between its two marks.
fn in_readme(name: &str, table: &str) {
    let (begin, end) = (format!("<!-- {name}: begin -->\n"), format!("<!-- {name}: end -->"));
    let path = root().join("README.md");
    let readme = fs::read_to_string(&path).expect("README.md");
    let (_, rest) = readme.split_once(&begin).expect("the table's begin");
    let (written, _) = rest.split_once(&end).expect("the table's end");
    if is_update() {
        // Two tables are two tests: each waits for the other's lock on the file, and reads it anew.
        let _lock = LOCK.lock().expect("no test fails while it writes");
        let readme = fs::read_to_string(&path).expect("README.md");
        fs::write(
            &path,
            readme.replacen(&[&begin, written, &end].concat(), &[&begin, table, &end].concat(), 1),
        )
        .expect("README.md is written");
        return;
    }
    assert_eq!(written, table, "UPDATE_DOCS=1 writes it anew");
}

/// A file that is made of the code.
fn generated(path: &Path, text: &str) {
    let path = root().join(path);
    if is_update() {
        fs::write(&path, text).expect("written");
        return;
    }
    let written = fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(written, text, "{}: UPDATE_DOCS=1 writes it anew", path.display());
}

fn root() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn is_update() -> bool {
    env::var_os("UPDATE_DOCS").is_some()
}

static LOCK: std::sync::Mutex<()> = std::sync::Mutex::new(());
