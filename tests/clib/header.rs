//! The headers are written by hand, for people; here they are held to the library.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    mem::{offset_of, size_of},
    process::Command,
};

use msg::{
    Reason,
    ffi::{
        Code,
        send_msg::MsgT,
        types::{
            CALL_REASONS, D_ASKED, D_SUPERSEDED, F_AT_LEAST_ONCE, F_IDEMPOTENT, F_LOST_REFUSE, F_LOST_RUN,
            F_MORE, F_REPEAT, F_UNORDERED, F_WAIT, O_ACK_ON_HANDLED, O_BESIDE, O_NO_RETRANSMITS, O_TAKEOVER,
            P_ACTIVE, P_DOWN, P_UP,
        },
        types::{CallCountersC, CallOptionsC, FailureC, MessageC, Options, PresenceC, RequestC, ResultC},
    },
};
use msg_proto::limits;

use crate::tools::{c_compilers, cpp_compilers, has, prefix, run, scratch, source};

fn header(name: &str) -> String {
    fs::read_to_string(source(&format!("include/{name}"))).expect("a header")
}

/// A header without its comments.
fn code(name: &str) -> String {
    let mut code = String::new();
    let text = header(name);
    let mut rest = text.as_str();
    while let Some((before, after)) = rest.split_once("/*") {
        code.push_str(before);
        rest = after.split_once("*/").expect("an end").1;
    }
    code + rest
}

/// The functions that the headers declare.
pub(crate) fn functions() -> BTreeSet<String> {
    let code = code("libmsg.h") + &code("send_msg.h");
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let mut found = BTreeSet::new();
    for statement in code.split(';') {
        let Some((before, _)) = statement.trim().split_once('(') else { continue };
        if before.contains("typedef") || before.contains('{') {
            continue;
        }
        let name = before.rsplit(|c| !is_name(c)).next().unwrap_or_default();
        if name.starts_with("msg_") || name == "send_msg" {
            found.insert(name.to_owned());
        }
    }
    found
}

/// The constants `MSG_E_*`, `MSG_R_*`, `MSG_F_*`, `MSG_O_*` of libmsg.h.
fn constants() -> BTreeMap<String, i64> {
    let code = code("libmsg.h");
    let lines = code.lines().filter_map(|line| line.trim().trim_end_matches(',').split_once(" = "));
    lines.map(|(name, value)| (name.to_owned(), value.parse().expect("a number"))).collect()
}

/// `NoRoute` is `NO_ROUTE` in C.
fn in_c(name: &str) -> String {
    let words = name.chars().enumerate().map(|(at, c)| {
        let gap = if at > 0 && c.is_ascii_uppercase() { "_" } else { "" };
        format!("{gap}{}", c.to_ascii_uppercase())
    });
    words.collect()
}

#[test]
fn the_constants_are_those_of_the_library() {
    let errors = Code::ALL.iter().map(|&(code, name)| (name.to_owned(), i64::from(code.value())));
    let reasons = Reason::ALL.iter().map(|&r| (format!("MSG_R_{}", in_c(r.name())), i64::from(r as u8)));
    let flags = [
        ("MSG_F_UNORDERED", F_UNORDERED),
        ("MSG_F_AT_LEAST_ONCE", F_AT_LEAST_ONCE),
        ("MSG_F_MORE", F_MORE),
        ("MSG_F_WAIT", F_WAIT),
        ("MSG_F_REPEAT", F_REPEAT),
        ("MSG_F_IDEMPOTENT", F_IDEMPOTENT),
        ("MSG_F_LOST_REFUSE", F_LOST_REFUSE),
        ("MSG_F_LOST_RUN", F_LOST_RUN),
        ("MSG_O_NO_RETRANSMITS", O_NO_RETRANSMITS),
        ("MSG_O_ACK_ON_HANDLED", O_ACK_ON_HANDLED),
        ("MSG_O_BESIDE", O_BESIDE),
        ("MSG_O_TAKEOVER", O_TAKEOVER),
    ];
    let changes = [
        ("MSG_P_UP", P_UP),
        ("MSG_P_DOWN", P_DOWN),
        ("MSG_P_ACTIVE", P_ACTIVE),
        ("MSG_D_SUPERSEDED", D_SUPERSEDED),
        ("MSG_D_ASKED", D_ASKED),
    ];
    let changes = changes.map(|(name, value)| (name.to_owned(), i64::from(value)));
    let flags = flags.map(|(name, value)| (name.to_owned(), i64::from(value)));
    let of_calls = CALL_REASONS.map(|(value, name, _)| (name.to_owned(), i64::from(value)));
    let ours: BTreeMap<String, i64> =
        errors.chain(reasons).chain(flags).chain(changes).chain(of_calls).collect();
    assert_eq!(constants(), ours);
}

#[test]
fn the_contract_of_design_stands() {
    // DESIGN.md, section 7, word for word but for the callbacks' parameter names.
    let code = code("libmsg.h").split_whitespace().collect::<Vec<_>>().join(" ");
    for declaration in [
        "typedef struct msg_client msg_client;",
        "int msg_open(const msg_options *options, msg_client **client);",
        "int msg_send(msg_client *client, uint32_t dst, const void *msg, size_t len, const void *user_buff, \
         size_t user_len, uint32_t flags, uint32_t *msgid);",
        "int msg_flush(msg_client *client, int timeout_ms);",
        "int msg_fd(const msg_client *client);",
        "int msg_dispatch(msg_client *client, int timeout_ms);",
        "int msg_close(msg_client *client);",
        "MSG_F_UNORDERED = 1, MSG_F_AT_LEAST_ONCE = 2, MSG_F_MORE = 4, MSG_F_WAIT = 8",
    ] {
        assert!(code.contains(declaration), "no {declaration}");
    }
}

#[test]
fn the_library_exports_what_the_headers_declare_and_nothing_else() {
    if !has("nm", "what libmsg.so exports") {
        return;
    }
    let library = prefix().join("lib/libmsg.so.0");
    let outcome = run(Command::new("nm").args(["-D", "--defined-only", "--format=posix"]).arg(&library));
    let exported: BTreeSet<String> =
        outcome.stdout.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect();
    assert_eq!(exported, functions());
    assert!(exported.contains("msg_send") && exported.contains("send_msg"));
    let soname = run(Command::new("readelf").arg("-d").arg(&library)).stdout;
    assert!(soname.contains("Library soname: [libmsg.so.0]"), "{soname}");
}

#[test]
fn every_function_is_in_the_man_pages() {
    let read = |name: &str| fs::read_to_string(source(&format!("man/{name}.3"))).expect("a page");
    let pages = read("libmsg") + &read("send_msg");
    for function in functions() {
        let declared = [format!(".Fn {function} "), format!(".Fo {function}\n")];
        assert!(declared.iter().any(|line| pages.contains(line)), "{function} is in no SYNOPSIS");
    }
    for error in constants().keys().filter(|name| name.starts_with("MSG_E_")) {
        assert!(pages.contains(error.as_str()), "{error} is in no page");
    }
}

#[test]
fn a_c_compiler_sees_the_same_layout() {
    macro_rules! layout {
        ($($c:literal $rust:ident { $($field:ident)* })*) => {
            [$(($c.to_owned(), size_of::<$rust>()), $((format!("{}.{}", $c, stringify!($field)), offset_of!($rust, $field)),)*)*]
        };
    }
    let version = |part: usize| env!("CARGO_PKG_VERSION").split('.').nth(part).and_then(|n| n.parse().ok());
    let mut ours: BTreeMap<String, usize> = layout! {
        "msg_options" Options { socket_path clientid interval_ms times flags }
        "msg_failure" FailureC { msgid dst reason may_have_started tries user_len user_buff }
        "msg_message" MessageC { src msgid age_us data len }
        "msg_presence" PresenceC { clientid event incarnation priority }
        "msg_call_options" CallOptionsC { timeout_ms retries xid flags reserved }
        "msg_result" ResultC { xid error reason data len }
        "msg_request" RequestC { call xid src procedure uid is_repeat time_left_ms node data len }
        "msg_call_counters" CallCountersC {
            calls replies failed_not_started failed_unknown repeats unknown_replies malformed requests runs hits misses
            in_progress_hits lost mismatches evictions late busy cancelled abandoned
            lost_replies
        }
        "MSG_T" MsgT { clientid msgid send_time times pad }
    }
    .into();
    let numbers = [
        ("MAX_STORED_MSG", limits::DEFAULT_MAX_STORED as usize),
        ("MAX_BUFF_LEN", limits::MAX_USER_BYTES),
        ("MSG_MAX_USER_LEN", limits::MAX_USER_BYTES),
        ("TRUE", 1),
        ("FALSE", 0),
        ("MSG_VERSION_MAJOR", version(0).expect("a number")),
        ("MSG_VERSION_MINOR", version(1).expect("a number")),
        ("MSG_VERSION_PATCH", version(2).expect("a number")),
    ];
    ours.extend(numbers.map(|(name, value)| (name.to_owned(), value)));
    assert_eq!(ours["MSG_T"], 16);
    for compiler in c_compilers("the layout of structs") {
        let said = run(&mut Command::new(compiler.compile(&source("tests/c/abi.c"), &[]))).stdout;
        let theirs: BTreeMap<String, usize> = said
            .lines()
            .filter_map(|line| line.split_once(' '))
            .map(|(name, value)| (name.to_owned(), value.parse().expect("a number")))
            .collect();
        assert_eq!(theirs, ours, "{compiler:?}");
    }
}

#[test]
fn the_readmes_example_compiles() {
    let readme = fs::read_to_string(source("../README.md")).expect("a README");
    let (_, rest) = readme.split_once("```c\n").expect("an example");
    let (example, _) = rest.split_once("```").expect("its end");
    let file = scratch().join("readme.c");
    fs::write(&file, example).expect("written");
    for compiler in c_compilers("the README's example") {
        compiler.compile(&file, &[]);
    }
}

#[test]
fn the_headers_stand_alone_in_every_standard() {
    let system = "#include <sys/socket.h>\n#include <sys/msg.h>\n#include <sys/ipc.h>\n";
    let compile = |name: &str, includes: &[&str]| {
        let source = scratch().join(name);
        let includes: String = includes.iter().map(|name| format!("#include <{name}>\n")).collect();
        // Beside the system's headers that have MSG_* of their own, and twice.
        let text = format!("{includes}{system}{includes}int main(void)\n{{\n    return 0;\n}}\n");
        fs::write(&source, text).expect("written");
        source
    };
    let all = [&["libmsg.h"][..], &["send_msg.h"], &["send_msg.h", "libmsg.h"]];
    for (n, includes) in all.into_iter().enumerate() {
        let source = compile(&format!("alone{n}.c"), includes);
        for compiler in c_compilers("the headers") {
            for standard in ["-std=c99", "-std=c11", "-std=c17", "-std=gnu17"] {
                compiler.check(&source, &[standard, "-D_GNU_SOURCE"]);
            }
        }
    }
    let all = [&["libmsg.h"][..], &["send_msg.h"], &["libmsg.hpp"], &["send_msg.h", "libmsg.hpp"]];
    for (n, includes) in all.into_iter().enumerate() {
        let source = compile(&format!("alone{n}.cpp"), includes);
        for compiler in cpp_compilers("the headers") {
            for standard in ["-std=c++11", "-std=c++17", "-std=c++20"] {
                compiler.check(&source, &[standard]);
            }
        }
    }
    // A program with types of its own.
    let source = scratch().join("own-types.c");
    let own =
        "#include <stdint.h>\ntypedef unsigned char BOOL;\ntypedef uint8_t byte;\ntypedef uint32_t uint32;\n";
    let main = "#define SEND_MSG_HAVE_TYPES\n#include <send_msg.h>\nint main(void)\n{\n    return send_msg(0, 0, 0, 0);\n}\n";
    fs::write(&source, format!("{own}{main}")).expect("written");
    for compiler in c_compilers("the headers") {
        compiler.compile(&source, &[]);
    }
}
