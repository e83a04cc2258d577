//! Every seed, every input that once found something, and a short run of any bytes, on stable: see README.md.

use std::{env, fs, path::PathBuf};

use msg_tests::fuzz::{ALL, EntryPoint, seeds};
use proptest::{prelude::*, test_runner::TestRunner};

fn folder(target: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "fuzz", "seeds", target].iter().collect()
}

fn corpus(target: &str) -> Vec<(String, Vec<u8>)> {
    let entries = fs::read_dir(folder(target)).expect("a folder of seeds for each target");
    let mut files: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
    files.sort();
    files.iter().map(|file| (file.display().to_string(), fs::read(file).expect("a file"))).collect()
}

/// What is committed, then cut short, then with other bytes in it.
fn run(target: &str) {
    let entry = ALL.iter().find(|(name, _)| *name == target).map(|(_, entry)| *entry).expect("a target");
    let corpus = corpus(target);
    assert!(!corpus.is_empty());
    for (file, bytes) in &corpus {
        std::panic::catch_unwind(|| entry(bytes)).unwrap_or_else(|_| panic!("{file}"));
    }
    for (_, bytes) in &corpus {
        (0..bytes.len()).step_by(bytes.len().div_ceil(32).max(1)).for_each(|end| entry(&bytes[..end]));
    }
    any_bytes(entry, corpus.into_iter().map(|(_, bytes)| bytes).collect());
}

fn any_bytes(entry: EntryPoint, corpus: Vec<Vec<u8>>) {
    let edit = (any::<prop::sample::Index>(), any::<u8>());
    let edited =
        (prop::sample::select(corpus), prop::collection::vec(edit, 1..8)).prop_map(|(mut bytes, edits)| {
            for (at, byte) in edits {
                if !bytes.is_empty() {
                    let at = at.index(bytes.len());
                    bytes[at] = byte;
                }
            }
            bytes
        });
    let strategy = prop_oneof![prop::collection::vec(any::<u8>(), 0..400), edited];
    let cases = env::var("PROPTEST_CASES").map_or(200, |cases| cases.parse().expect("a number"));
    let config = ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() };
    let result = TestRunner::new(config).run(&strategy, |bytes| {
        entry(&bytes);
        Ok(())
    });
    result.unwrap_or_else(|error| panic!("{error}"));
}

macro_rules! targets {
    ($($name:ident)+) => {
        $(#[test] fn $name() { run(stringify!($name)); })+

        #[test]
        fn every_target_is_tested() {
            assert_eq!(ALL.map(|(name, _)| name), [$(stringify!($name)),+]);
        }
    };
}

targets!(
    wire_datagram control_bodies local_client_frames local_daemon_frames call_messages config status_http engine
);

/// `UPDATE_SEEDS=1` writes them.
#[test]
fn seeds_are_as_written() {
    let is_update = env::var_os("UPDATE_SEEDS").is_some();
    for seed in seeds() {
        let file = folder(seed.target).join(seed.name);
        if is_update {
            fs::create_dir_all(folder(seed.target)).expect("a folder");
            fs::write(&file, &seed.bytes).expect("a seed");
        }
        assert_eq!(fs::read(&file).ok(), Some(seed.bytes), "{}: UPDATE_SEEDS=1 writes it", file.display());
    }
}
