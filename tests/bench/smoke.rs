//! The bench runs, and says what it should in the form that it should; nothing is asserted of its figures.

use std::{fs, path::Path, process::Command};

use serde_json::Value;

#[test]
fn every_work_of_two_sides_is_measured() {
    let dir = tempfile::tempdir().expect("a directory");
    let [json, svg] = ["results.json", "results.svg"].map(|name| dir.path().join(name));
    let words = [
        ["--systems", "msgd,chain-1,chain-batch"],
        ["--work", "ping-pong,one-way,loss,paced"],
        ["--network", "relay"],
        ["--loss", "5"],
        ["--sizes", "256"],
        ["--seconds", "0.2"],
        ["--reps", "1"],
    ];
    let text = bench(words.as_flattened(), &[("--json", &json), ("--svg", &svg)]);
    for row in ["ping-pong, 256 bytes", "one-way, 256 bytes", "loss, 256 bytes, 5 %", "msgd / chain-1: "] {
        assert!(text.contains(row), "{row} is not in\n{text}");
    }
    let results: Value = serde_json::from_str(&fs::read_to_string(json).expect("results")).expect("JSON");
    let results = results.as_array().expect("a list");
    // Two works of all systems, two of msgd alone: the chain repeats nothing.
    assert_eq!(results.len(), 2 * 3 + 2, "{results:#?}\n{text}");
    for result in results {
        let run = &result["runs"][0];
        let is_number = |name: &str| run[name].as_f64().is_some_and(|value| value >= 0.0);
        let names: &[&str] = match result["work"].as_str() {
            Some("ping-pong") => &["p50_us", "p99_us", "cpu_us", "failed"],
            Some("paced") => &["p50_us", "p99_us", "cpu_us", "failed", "delivered_percent"],
            _ => &["per_second", "mb_per_second", "cpu_us", "failed", "delivered_percent"],
        };
        assert!(names.iter().all(|name| is_number(name)), "{result:#}");
        assert_eq!(run["failed"], 0.0, "{result:#}");
    }
    let svg = fs::read_to_string(svg).expect("a picture");
    assert!(svg.starts_with("<svg") && svg.ends_with("</svg>\n") && svg.contains("<rect"), "{svg}");
}

/// What the bench prints.
fn bench(words: &[&str], files: &[(&str, &Path)]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bench"));
    command.args(words);
    files.iter().for_each(|(option, path)| _ = command.arg(option).arg(path));
    let output = command.output().expect("it runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{}: {text}", output.status);
    text
}
