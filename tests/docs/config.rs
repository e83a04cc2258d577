//! The config's keys: the file that the package installs, and the README's table.

use std::{fmt::Write as _, path::Path};

use msgd::config::keys::{Effect, Key, SECTIONS, keys};

use crate::{generated, in_readme};

const WIDTH: usize = 116;

#[test]
fn the_installed_config_has_every_key() {
    let mut text = "# The config of msgd, with every key: msgd.toml(5). What stands here is the default, or an example where there is \
                    none.\n# Keys that are not here are refused. `msgd --check-config --config FILE` checks a file; `systemctl \
                    reload msgd` takes it\n# in, but for what needs a restart.\n"
        .to_owned();
    for section in SECTIONS {
        text.push('\n');
        if section.is_list {
            comment(&mut text, section.about);
            comment(&mut text, &format!("[[{}]]", section.name));
        } else {
            writeln!(text, "[{}]", section.name).expect("a String takes it");
            comment(&mut text, section.about);
            text.push('\n');
        }
        let keys: Vec<Key> = keys().into_iter().filter(|key| key.section == section.name).collect();
        for (index, key) in keys.iter().enumerate() {
            comment(&mut text, &about(key));
            comment(&mut text, &format!("{} = {}", key.name, key.example));
            if !section.is_list && index + 1 < keys.len() {
                text.push('\n');
            }
        }
    }
    generated(Path::new("systemd/msgd.toml"), &text);
}

#[test]
fn the_readme_lists_the_keys() {
    let mut table = "| key | default | allowed | takes effect | what |\n|---|---|---|---|---|\n".to_owned();
    for key in keys() {
        let Key { section, name, allowed, about, .. } = &key;
        let effect = match key.effect {
            Effect::Reload => "reload",
            Effect::Restart => "restart",
            Effect::NextStart => "next start",
        };
        let default = if key.default.starts_with(['"', '[', '$']) && !key.default.contains(' ') {
            format!("`{}`", key.default)
        } else {
            key.default.clone()
        };
        writeln!(table, "| `{section}.{name}` | {default} | {allowed} | {effect} | {about} |")
            .expect("a String takes it");
    }
    in_readme("config", &table);
}

fn about(key: &Key) -> String {
    let default = match key.default.as_str() {
        "" => String::new(),
        shown if shown == key.example => String::new(),
        other => format!(" Default: {other}."),
    };
    let effect = match key.effect {
        Effect::Reload => "",
        Effect::Restart => " Needs a restart.",
        Effect::NextStart => " Counts from the next start on.",
    };
    format!("{} Allowed: {}.{default}{effect}", key.about, key.allowed)
}

/// Commented lines of at most [`WIDTH`] bytes.
fn comment(out: &mut String, text: &str) {
    let mut line = "#".to_owned();
    for word in text.split(' ') {
        if line.len() + 1 + word.len() > WIDTH {
            writeln!(out, "{line}").expect("a String takes it");
            line = "#".to_owned();
        }
        line.push(' ');
        line.push_str(word);
    }
    writeln!(out, "{line}").expect("a String takes it");
}
