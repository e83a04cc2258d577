//! Manual pages and completions, from the definitions of the command lines and of the config.

use std::path::Path;

use clap::{Command, CommandFactory as _};
use clap_complete::{Shell, generate};
use clap_mangen::Man;
use msgd::{
    Args,
    config::keys::{Effect, Key, SECTIONS, Section, keys},
    ctl,
};
use roff::{Inline, Roff, bold, italic, roman};

use crate::generated;

const SOURCE: &str = concat!("msgd ", env!("CARGO_PKG_VERSION"));
/// The version says it, and a date would be one more thing to keep right; but there is a place for it.
const NO_DATE: &str = " ";
const MANUAL: &str = "Messaging for network functions";

#[test]
fn the_manual_pages_are_those_of_the_code() {
    let folder = Path::new("packaging/man");
    generated(&folder.join("msgd.8"), &daemon());
    generated(&folder.join("msgd.toml.5"), &config());
    generated(&folder.join("msgctl.1"), &control());
}

#[test]
fn the_completions_are_those_of_the_code() {
    for (mut command, name) in [(Args::command(), "msgd"), (ctl::command(), "msgctl")] {
        for (shell, file) in [
            (Shell::Bash, name.to_owned()),
            (Shell::Zsh, format!("_{name}")),
            (Shell::Fish, format!("{name}.fish")),
        ] {
            let mut script = Vec::new();
            generate(shell, &mut command, name, &mut script);
            let script = String::from_utf8(script).expect("text");
            generated(&Path::new("packaging/completions").join(file), &script);
        }
    }
}

fn man(command: Command, section: &str) -> Man {
    Man::new(command).section(section).date(NO_DATE).source(SOURCE).manual(MANUAL)
}

fn text(write: impl FnOnce(&mut Vec<u8>) -> std::io::Result<()>) -> String {
    let mut page = Vec::new();
    write(&mut page).expect("a Vec takes it");
    String::from_utf8(page).expect("text")
}

/// A page as far as the definition of a command line goes.
fn head(man: &Man) -> String {
    text(|out| {
        man.render_title(out)?;
        man.render_name_section(out)?;
        man.render_synopsis_section(out)?;
        man.render_description_section(out)?;
        man.render_options_section(out)
    })
}

fn daemon() -> String {
    let page = head(&man(Args::command(), "8"));
    let mut more = Roff::new();
    more.control("SH", ["SIGNALS"]);
    term(
        &mut more,
        &[bold("SIGTERM"), roman(", "), bold("SIGINT")],
        "Say goodbye to clients and other nodes, and end.",
    );
    term(
        &mut more,
        &[bold("SIGHUP")],
        "Reread the config. Peers, limits, rights and the log level change at once; if a key differs that cannot \
         change, nothing does, and a line says which it is: see msgd.toml(5).",
    );
    more.control("SH", ["EXIT STATUS"]);
    term(&mut more, &[bold("0")], "After SIGTERM or SIGINT.");
    term(
        &mut more,
        &[bold("2")],
        "The config or the command line is wrong; one line says file, line, key and what is allowed.",
    );
    term(&mut more, &[bold("1")], "Anything else.");
    more.control("SH", ["ENVIRONMENT"]);
    term(
        &mut more,
        &[bold("MSGD_LOG")],
        "What is logged, whatever the config says: error, warn, info, debug, trace.",
    );
    term(
        &mut more,
        &[bold("XDG_RUNTIME_DIR")],
        "Where the runtime directory is, unless something else says so.",
    );
    term(
        &mut more,
        &[
            bold("LISTEN_FDS"),
            roman(", "),
            bold("NOTIFY_SOCKET"),
            roman(", "),
            bold("WATCHDOG_USEC"),
            roman(", "),
            bold("JOURNAL_STREAM"),
        ],
        "Set by systemd: the sockets that it holds, which are found by type and address; where to say that the daemon is \
         ready, reloading, stopping; how often the loop has to turn; and that standard error is the journal, to which \
         lines then go with the fields CLIENTID=, PEER= and REASON=.",
    );
    more.control("SH", ["SYSTEMD"]);
    more.text([roman(
        "msgd.socket holds the clients' socket, the status socket and the UDP sockets, so that what comes while the daemon is \
         started again waits in them. It is the one place to say where the node listens; for other addresses than \
         127.0.0.1:7400:",
    )]);
    more.control("PP", []);
    more.control("nf", []);
    for line in [
        "systemctl edit msgd.socket",
        "    [Socket]",
        "    ListenDatagram=",
        "    ListenStream=/run/msgd/msgd.sock",
        "    ListenStream=/run/msgd/status.sock",
        "    ListenDatagram=10.0.0.1:7400",
        "systemctl restart msgd.socket msgd.service",
    ] {
        more.text([roman(line)]);
    }
    more.control("fi", []);
    more.control("PP", []);
    more.text([roman("(The empty line takes back everything that msgd.socket lists, the streams too.)")]);
    more.control("PP", []);
    more.text([roman(
        "Members of the group msgd may connect. A unit of a client needs SupplementaryGroups=msgd, and should be ordered \
         After=msgd.socket; it does not matter whether the daemon runs already, or is started again.",
    )]);
    more.control("SH", ["FILES"]);
    term(&mut more, &[italic("/etc/msgd/msgd.toml")], "The config of the service.");
    term(&mut more, &[italic("/run/msgd/msgd.sock")], "Where clients connect.");
    term(
        &mut more,
        &[italic("/run/msgd/status.sock")],
        "The status, over HTTP/1.1: GET /v1/status, GET /v1/chain.",
    );
    see_also(&mut more, &[("msgd.toml", "5"), ("msgctl", "1"), ("systemd.socket", "5")]);
    page + &more.render()
}

fn control() -> String {
    let command = ctl::command();
    let mut page = head(&man(command.clone(), "1"));
    for sub in command.get_subcommands().filter(|sub| !sub.is_hide_set() && sub.get_name() != "help") {
        let name = format!("msgctl {}", sub.get_name());
        let heading = name.to_uppercase();
        let sub = man(sub.clone().bin_name(name.clone()).display_name(name), "1");
        let body = text(|out| {
            sub.render_synopsis_section(out)?;
            sub.render_description_section(out)?;
            sub.render_options_section(out)
        });
        // A page of its own has sections; here they are parts of one.
        page +=
            &format!(".SH \"{heading}\"\n{}", body.replace("\n.SH ", "\n.SS ").replacen(".SH ", ".SS ", 1));
    }
    let mut more = Roff::new();
    let exit = command.get_after_help().expect("exit statuses").to_string();
    more.control("SH", ["EXIT STATUS"]);
    more.text([roman(exit.trim_start_matches("Exit status: "))]);
    see_also(&mut more, &[("msgd", "8"), ("msgd.toml", "5")]);
    page + &more.render()
}

fn config() -> String {
    let mut page = Roff::new();
    page.control("TH", ["msgd.toml", "5", NO_DATE, SOURCE, MANUAL]);
    page.control("SH", ["NAME"]);
    page.text([roman("msgd.toml - the config of msgd(8)")]);
    page.control("SH", ["SYNOPSIS"]);
    page.text([italic("/etc/msgd/msgd.toml")]);
    page.control("SH", ["DESCRIPTION"]);
    page.text([roman(
        "A TOML file. Every key may be left out, except those of the tables that there may be several of. Keys that are not \
         here are refused. ",
    ), bold("msgd --check-config --config FILE"), roman(" checks a file and changes nothing.")]);
    page.control("PP", []);
    page.text([bold("systemctl reload msgd"), roman(
        " (SIGHUP) takes in a file that has changed. If a key that needs a restart differs, nothing changes, and a line in \
         the log and in the unit's status says which it is.",
    )]);
    for section in SECTIONS {
        config_section(&mut page, section);
    }
    see_also(&mut page, &[("msgd", "8"), ("msgctl", "1")]);
    page.to_roff()
}

fn config_section(page: &mut Roff, section: &Section) {
    let brackets = if section.is_list { ("[[", "]]") } else { ("[", "]") };
    page.control("SH", [format!("{}{}{}", brackets.0, section.name, brackets.1).as_str()]);
    page.text([roman(section.about)]);
    for key in keys().iter().filter(|key| key.section == section.name) {
        page.control("TP", []);
        page.text([bold(key.name), roman(" = "), italic(&key.example)]);
        page.text([roman(format!("{} {}", key.about, facts(key)))]);
    }
}

fn facts(key: &Key) -> String {
    let default = if key.default.is_empty() { String::new() } else { format!(" Default: {}.", key.default) };
    let effect = match key.effect {
        Effect::Reload => "",
        Effect::Restart => " Needs a restart.",
        Effect::NextStart => " Counts from the next start on.",
    };
    format!("Allowed: {}.{default}{effect}", key.allowed)
}

fn term(page: &mut Roff, names: &[Inline], about: &str) {
    page.control("TP", []);
    page.text(names.to_vec());
    page.text([roman(about)]);
}

fn see_also(page: &mut Roff, pages: &[(&str, &str)]) {
    page.control("SH", ["SEE ALSO"]);
    let mut line = Vec::new();
    for (index, (name, section)) in pages.iter().enumerate() {
        line.extend([
            bold(*name),
            roman(format!("({section}){}", if index + 1 < pages.len() { ", " } else { "" })),
        ]);
    }
    page.text(line);
}

#[test]
fn the_packages_are_of_this_version() {
    let version = env!("CARGO_PKG_VERSION");
    let pc = format!(
        "# Where this file is says where the library is: one file for every architecture.\n\
         prefix=/usr\nlibdir=${{pcfiledir}}/..\nincludedir=${{prefix}}/include\n\n\
         Name: libmsg\nDescription: The client library of msgd, the messaging daemon for network functions\n\
         Version: {version}\nCflags: -I${{includedir}}\nLibs: -L${{libdir}} -lmsg\n\
         Libs.private: -lgcc_s -lutil -lrt -lpthread -lm -ldl -lc\n"
    );
    generated(Path::new("packaging/libmsg.pc"), &pc);
    let changelog = include_str!("../../packaging/deb/changelog");
    assert!(changelog.starts_with(&format!("msgd ({version}-1) ")), "packaging/deb/changelog");
    let manifest = include_str!("../../libmsg/Cargo.toml");
    assert!(manifest.contains(&format!("\"libmsg0 (= {version}-1)\"")), "libmsg/Cargo.toml");
}
