//! What people and observers write: the config, and requests to the status socket.

use std::path::Path;

use msg_proto::{engine::Engine, limits, units::Time};
use msgd::{
    Args, Config,
    limits::{MAX_CLIENT_RULES, MAX_STATUS_REQUEST_BYTES},
    status::{Judgement, judge},
};

/// A config file's bytes.
///
/// What is refused is refused in one line; what is accepted is within the limits, and an engine starts with it.
pub fn config(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let args = Args { node: Some("fuzz".to_owned()), ..Args::default() };
    match Config::parse(Path::new("f.toml"), text, &args) {
        Err(error) => check_line(&error.to_string()),
        Ok(config) => {
            check_line(&config.to_string());
            config.warnings().iter().for_each(|warning| check_line(&warning.to_string()));
            let engine = config.engine(1, 2, 1 << 20);
            assert!((1..=limits::MAX_NODE_NAME_BYTES).contains(&engine.node.len()));
            assert!((1..=limits::MAX_PATHS).contains(&engine.listeners));
            assert!((limits::MIN_MTU..=limits::MAX_MTU).contains(&engine.mtu));
            assert!(engine.peers.len() <= limits::MAX_PEERS && engine.clients.len() <= MAX_CLIENT_RULES);
            assert!(engine.peers.iter().all(|p| (1..=limits::MAX_PATHS).contains(&p.addresses.len())));
            let interval = u64::from(limits::MIN_INTERVAL_MS)..=u64::from(limits::MAX_INTERVAL_MS);
            assert!(interval.contains(&engine.chain.interval.as_millis()));
            assert!((1..=limits::MAX_STORED_CEILING).contains(&engine.chain.max_stored));
            assert!((1..=limits::MAX_MESSAGE_BYTES).contains(&engine.limits.max_message_bytes));
            assert!((1..=limits::MAX_CLIENTS_CEILING).contains(&engine.limits.max_clients));
            let queue = limits::MIN_CLIENT_QUEUE_BYTES..=limits::MAX_CLIENT_QUEUE_BYTES;
            assert!(queue.contains(&engine.limits.client_queue_bytes));
            let mut engine = Engine::new(engine, Time(1));
            engine.handle_timeout(Time(1));
            assert!(engine.poll_timeout().is_none_or(|at| at >= Time(1)));
        }
    }
}

/// A status request, as it grows: it is judged once, and more bytes change nothing then.
pub fn status_http(data: &[u8]) {
    // No more is ever read.
    let data = &data[..data.len().min(MAX_STATUS_REQUEST_BYTES)];
    let mut judged = None;
    let step = data.len().div_ceil(64).max(1);
    for length in (0..=data.len()).step_by(step).chain([data.len()]) {
        let judgement = judge(&data[..length]);
        if length >= MAX_STATUS_REQUEST_BYTES {
            assert_ne!(judgement, Judgement::Incomplete, "it is as long as it may be");
        }
        match &judged {
            None if judgement != Judgement::Incomplete => judged = Some(judgement.clone()),
            // A complaint may name what stands behind it.
            Some(Judgement::Refused(_)) => assert!(matches!(judgement, Judgement::Refused(_))),
            Some(first) => assert_eq!(*first, judgement, "judged again at {length} bytes"),
            None => {}
        }
        if let Judgement::Refused(answer) = judgement {
            check_answer(&answer);
        }
    }
}

fn check_line(line: &str) {
    assert!(!line.is_empty() && !line.contains(char::is_control), "one line: {line:?}");
}

/// An HTTP/1.1 answer whose length is right and whose body is JSON.
fn check_answer(answer: &[u8]) {
    let mut headers = [httparse::EMPTY_HEADER; 16];
    let mut response = httparse::Response::new(&mut headers);
    let Ok(httparse::Status::Complete(head)) = response.parse(answer) else {
        panic!("no answer: {answer:?}")
    };
    assert!(matches!(response.code, Some(400..=599)));
    let length = response.headers.iter().find(|h| h.name == "Content-Length").map(|h| h.value);
    let body = &answer[head..];
    assert_eq!(length, Some(body.len().to_string().as_bytes()));
    assert!(serde_json::from_slice::<serde_json::Value>(body).is_ok_and(|v| v["error"].is_string()));
}
