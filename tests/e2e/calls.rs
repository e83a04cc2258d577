//! Calls through the library and real daemons: what each side may do, beside the faults of `truth`.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU32, Ordering},
        mpsc,
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use msg::{
    Call, CallError, CallFailure, CallOptions, Certainty, Client, ClientId, LostReply, Procedure,
    ProcedureOptions, Responder, Semantics, SendError, UserBuf, Why, Xid,
};
use msg_tests::{
    node::{Node, NodeSpec, join},
    wait,
};

const ECHO: Procedure = Procedure(1);
const SERVER: ClientId = ClientId(200);

/// A client that a thread dispatches until this is dropped.
pub(crate) struct Server {
    pub(crate) client: Arc<Client>,
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    pub(crate) fn start(node: &Node, id: u32) -> Self {
        let client = Arc::new(node.client(id).connect().expect("registered"));
        let is_over = Arc::new(AtomicBool::new(false));
        let thread = thread::spawn({
            let (client, is_over) = (client.clone(), is_over.clone());
            move || {
                while !is_over.load(Ordering::Relaxed) && client.dispatch(None).is_ok() {}
            }
        });
        Self { client, is_over, thread: Some(thread) }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        self.client.wake();
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) && !thread::panicking() {
            panic!("a handler panicked");
        }
    }
}

pub(crate) const PATIENT: CallOptions = CallOptions::new(wait::PATIENCE);

/// Two nodes, and a link between them.
pub(crate) fn nodes() -> (Node, Node) {
    let spec = |name| NodeSpec::new(name).chain("interval_ms = 200");
    let (mut a, mut b) = (spec("a"), spec("b"));
    join(&mut a, &mut b);
    let (a, b) = (Node::start(&a), Node::start(&b));
    a.wait_for_links();
    (a, b)
}

/// Answers with the request, backwards, and how often it ran.
fn echo(server: &Server) -> Arc<AtomicU32> {
    let runs = Arc::new(AtomicU32::new(0));
    let counted = runs.clone();
    server.client.serve(ECHO, move |client, call| {
        counted.fetch_add(1, Ordering::Relaxed);
        let reply: Vec<u8> = call.request.iter().rev().copied().collect();
        client.reply(&call.responder, &reply).expect("it waits");
    });
    runs
}

#[test]
fn a_call_is_answered_on_one_node_and_over_a_link_small_and_large() {
    let (a, b) = nodes();
    let server = Server::start(&b, 200);
    let runs = echo(&server);
    let (here, there) = (b.client(100).connect().unwrap(), a.client(101).connect().unwrap());
    let large: Vec<u8> = (0..500_000_u32).map(|n| n.to_le_bytes()[0]).collect();
    let mut backwards = large.clone();
    backwards.reverse();
    for client in [&here, &there] {
        assert_eq!(client.call(SERVER, ECHO, b"abc", PATIENT).unwrap().data, b"cba");
        assert_eq!(client.call(SERVER, ECHO, b"", PATIENT).unwrap().data, b"");
        assert_eq!(client.call(SERVER, ECHO, &large, PATIENT).unwrap().data, backwards);
        let counters = client.call_counters();
        assert_eq!((counters.calls, counters.replies, counters.unknown_replies), (3, 3, 0));
    }
    assert_eq!(runs.load(Ordering::Relaxed), 6);
    let failed = there.call(SERVER, Procedure(9), b"", PATIENT).unwrap_err();
    let no_procedure = CallFailure { certainty: Certainty::NotStarted, why: Why::NoProcedure };
    assert_eq!(failed, CallError::Failed(no_procedure));
}

#[test]
fn what_comes_before_a_process_serves_waits_for_its_first_dispatch() {
    let (a, b) = nodes();
    let other = Server::start(&b, 300);
    echo(&other);
    let late = b.client(200).connect().unwrap();
    let caller = a.client(100).connect().unwrap();
    thread::scope(|scope| {
        let caller = &caller;
        let call = |procedure| scope.spawn(move || caller.call(SERVER, procedure, b"abc", PATIENT));
        let calls = [call(ECHO), call(Procedure(9))];
        wait::until("both came while it called somebody else", || {
            late.call(ClientId(300), ECHO, b"", PATIENT).expect("a reply");
            late.call_counters().requests == 2
        });
        late.serve(ECHO, |client, call| client.reply(&call.responder, b"late").expect("it waits"));
        wait::until("both have ended", || {
            late.dispatch(Duration::from_millis(10)).expect("not refused");
            calls.iter().all(|call| call.is_finished())
        });
        let [served, unserved] = calls.map(|call| call.join().expect("no panic"));
        assert_eq!(served.expect("a reply").data, b"late");
        let no_procedure = CallFailure { certainty: Certainty::NotStarted, why: Why::NoProcedure };
        assert_eq!(unserved, Err(CallError::Failed(no_procedure)));
    });
}

#[test]
fn a_server_learns_who_calls_and_answers_later_from_another_thread() {
    let (a, b) = nodes();
    let server = Server::start(&b, 200);
    let (send, recv) = mpsc::channel::<Responder>();
    server.client.serve(ECHO, move |client, call: Call| {
        assert_eq!((call.from.instance.client, &*call.from.node), (ClientId(100), "a"));
        assert_eq!(call.from.uid, rustix::process::getuid().as_raw());
        assert!(client.caller_waits(&call.responder));
        assert!(call.responder.time_left() > Duration::ZERO);
        send.send(call.responder).expect("somebody answers");
    });
    let answering = server.client.clone();
    let worker = thread::spawn(move || {
        let responder = recv.recv().expect("a call");
        answering.reply(&responder, b"later").expect("it waits");
        assert_eq!(answering.reply(&responder, b"again"), Err(msg::ReplyError::Answered));
        drop(responder);
        // Dropped without an answer, while the one that dispatches sleeps.
        drop(recv.recv().expect("another"));
    });
    let caller = a.client(100).connect().unwrap();
    assert_eq!(caller.call(SERVER, ECHO, b"", PATIENT).unwrap().data, b"later");
    let failure = CallFailure { certainty: Certainty::Unknown, why: Why::NoReply };
    assert_eq!(caller.call(SERVER, ECHO, b"", PATIENT), Err(CallError::Failed(failure)));
    worker.join().unwrap();
}

#[test]
fn many_calls_at_once_each_get_their_own_reply() {
    let (a, b) = nodes();
    let server = Server::start(&b, 200);
    echo(&server);
    let caller = a.client(100).connect().unwrap();
    let replies = Arc::new(Mutex::new(Vec::new()));
    for n in 0..900_u32 {
        let replies = replies.clone();
        let request = n.to_be_bytes();
        caller
            .start_call(SERVER, ECHO, &request, PATIENT, move |_, result| {
                replies.lock().unwrap().push((n, result.expect("a reply").data));
            })
            .expect("room");
    }
    wait::until("all are answered", || {
        caller.dispatch(Duration::from_millis(100)).expect("not refused");
        replies.lock().unwrap().len() == 900
    });
    assert!(replies.lock().unwrap().iter().all(|(n, reply)| *reply == n.to_le_bytes()));
}

#[test]
fn threads_call_while_another_dispatches_and_messages_keep_their_way() {
    let (a, b) = nodes();
    let server = Server::start(&b, 200);
    echo(&server);
    let caller = Server::start(&a, 100);
    let got = Arc::new(AtomicU32::new(0));
    let counted = got.clone();
    caller.client.on_message(move |_, _| {
        counted.fetch_add(1, Ordering::Relaxed);
    });
    thread::scope(|scope| {
        for n in 0..4_u32 {
            let client = &caller.client;
            scope.spawn(move || {
                for m in 0..50_u32 {
                    let request = (n * 1000 + m).to_be_bytes();
                    let reply = client.call(SERVER, ECHO, &request, PATIENT).expect("a reply");
                    assert_eq!(reply.data, (n * 1000 + m).to_le_bytes());
                }
            });
        }
        for _ in 0..200 {
            server.client.send(ClientId(100), b"plain", UserBuf::EMPTY).expect("room");
        }
    });
    wait::until("messages came, too", || got.load(Ordering::Relaxed) == 200);
}

#[test]
fn messages_that_nobody_asks_for_do_not_stand_in_a_replys_way() {
    let (a, b) = nodes();
    let server = Server::start(&b, 200);
    server.client.serve(ECHO, |client, call| {
        for n in 0..10_u8 {
            client.send(ClientId(100), &[n], UserBuf::EMPTY).expect("room");
        }
        client.reply(&call.responder, b"reply").expect("it waits");
    });
    let caller = a.client(100).connect().unwrap();
    for _ in 0..2 {
        assert_eq!(caller.call(SERVER, ECHO, b"", PATIENT).unwrap().data, b"reply");
        // They come in their order, whether they were in the way or not.
        for n in 0..10_u8 {
            assert_eq!(caller.recv(wait::PATIENCE).unwrap().expect("a message").data, [n]);
        }
    }
}

#[test]
fn a_repeat_with_its_own_xid_is_answered_and_not_run_even_after_the_caller_restarted() {
    let (a, b) = nodes();
    let server = Server::start(&b, 200);
    let runs = echo(&server);
    server.client.enable_reply_cache(100);
    let own = CallOptions { xid: Some(Xid(77)), ..PATIENT };
    for is_repeat in [false, false, true] {
        let caller = a.client(100).connect().unwrap();
        let reply = caller.call(SERVER, ECHO, b"abc", CallOptions { is_repeat, ..own }).unwrap();
        assert_eq!((reply.data.as_slice(), reply.xid), (&b"cba"[..], Xid(77)));
    }
    assert_eq!(runs.load(Ordering::Relaxed), 1);
    let caller = a.client(100).connect().unwrap();
    let reused = CallFailure { certainty: Certainty::NotStarted, why: Why::XidReused };
    assert_eq!(caller.call(SERVER, ECHO, b"abd", own), Err(CallError::Failed(reused)));
    drop(caller);
    // The same clientid on another node is somebody else.
    let stranger = b.client(100).connect().unwrap();
    assert_eq!(stranger.call(SERVER, ECHO, b"abd", own).unwrap().data, b"dba");
    let counters = server.client.call_counters();
    assert_eq!((counters.hits, counters.mismatches, counters.runs), (2, 1, 2));
}

#[test]
fn a_restarted_server_refuses_a_repeat_or_hands_it_over_marked() {
    let (a, b) = nodes();
    let caller = a.client(100).connect().unwrap();
    let repeat = CallOptions { xid: Some(Xid(77)), is_repeat: true, ..PATIENT };
    for (lost_reply, semantics, is_run) in [
        (LostReply::BySemantics, Semantics::AtMostOnce, false),
        (LostReply::BySemantics, Semantics::AtLeastOnce, true),
        (LostReply::Refuse, Semantics::AtLeastOnce, false),
        (LostReply::Run, Semantics::AtMostOnce, true),
    ] {
        let server = Server::start(&b, 200);
        let options = ProcedureOptions { is_idempotent: false, lost_reply };
        server.client.serve_with(ECHO, options, |client, call| {
            assert!(call.is_repeat);
            client.reply(&call.responder, b"marked").expect("it waits");
        });
        let result = caller.call(SERVER, ECHO, b"", CallOptions { semantics, ..repeat });
        let lost = CallFailure { certainty: Certainty::Unknown, why: Why::ReplyLost };
        match is_run {
            true => assert_eq!(result.unwrap().data, b"marked"),
            false => assert_eq!(result, Err(CallError::Failed(lost))),
        }
    }
}

#[test]
fn a_call_to_nobody_has_not_started_at_its_deadline() {
    let (a, _b) = nodes();
    let caller = a.client(100).connect().unwrap();
    for semantics in [Semantics::AtMostOnce, Semantics::AtLeastOnce] {
        let options = CallOptions { semantics, ..CallOptions::new(Duration::from_millis(300)) };
        let failed = caller.call(ClientId(999), ECHO, b"", options).unwrap_err();
        assert_eq!(failed.to_string(), "not started: no node has that client");
        assert_eq!((failed.certainty(), caller.unresolved()), (Certainty::NotStarted, 0));
    }
}

#[test]
fn a_cancelled_call_ends_at_once_and_its_server_can_know() {
    let (a, b) = nodes();
    let server = Server::start(&b, 200);
    let (send, recv) = mpsc::channel();
    let send = Mutex::new(send);
    server.client.serve(ECHO, move |client, call| {
        send.lock().unwrap().send(()).expect("the test waits");
        wait::until("the caller has cancelled", || !client.caller_waits(&call.responder));
        client.reply(&call.responder, b"too late").expect("once");
    });
    let caller = Server::start(&a, 100);
    let (told, result) = mpsc::channel();
    let call = caller
        .client
        .start_call(SERVER, ECHO, b"", PATIENT, move |_, result| told.send(result).expect("the test waits"))
        .expect("room");
    recv.recv().expect("it runs");
    wait::until("its request is known to be taken", || caller.client.unresolved() == 0);
    assert!(caller.client.cancel_call(call));
    let cancelled = CallFailure { certainty: Certainty::Unknown, why: Why::Cancelled };
    assert_eq!(result.recv().expect("an outcome"), Err(CallError::Failed(cancelled)));
    assert!(!caller.client.cancel_call(call));
    wait::until("its reply is dropped", || caller.client.call_counters().unknown_replies == 1);
}

#[test]
fn a_server_knows_that_its_caller_is_gone_and_begins_no_call_of_it() {
    let (a, b) = nodes();
    for node in [&a, &b] {
        let server = Server::start(&b, 200);
        let (send, recv) = mpsc::channel();
        let send = Mutex::new(send);
        let runs = Arc::new(AtomicU32::new(0));
        let counted = runs.clone();
        server.client.serve(ECHO, move |client, call| {
            counted.fetch_add(1, Ordering::Relaxed);
            if call.request == b"wait" {
                send.lock().unwrap().send(()).expect("the test waits");
                wait::until("the caller is gone", || !client.caller_waits(&call.responder));
                assert!(call.responder.time_left() > Duration::ZERO);
            }
            client.reply(&call.responder, b"ran").expect("once");
        });
        let caller = node.client(100).connect().unwrap();
        let own = CallOptions { xid: Some(Xid(7)), ..PATIENT };
        caller.start_call(SERVER, ECHO, b"wait", PATIENT, |_, _| {}).expect("room");
        caller.start_call(SERVER, ECHO, b"behind", own, |_, _| {}).expect("room");
        recv.recv().expect("it runs");
        wait::until("both are taken", || {
            caller.dispatch(Duration::from_millis(10)).expect("not refused");
            caller.unresolved() == 0
        });
        drop(caller);
        wait::until("it has ended", || server.client.call_counters().abandoned == 2);
        // What stood behind it was not begun; the caller's next life calls again.
        let next = node.client(100).connect().unwrap();
        let again = next.call(SERVER, ECHO, b"behind", CallOptions { is_repeat: true, ..own });
        assert_eq!(again.expect("a reply").data, b"ran");
        assert_eq!(runs.load(Ordering::Relaxed), 2);
    }
}

#[test]
fn what_cannot_be_called_is_refused_at_once() {
    let (a, _b) = nodes();
    let caller = a.client(100).connect().unwrap();
    let never = |_: &Client, _: Result<msg::Reply, CallError>| panic!("it was never made");
    let limit = (1 << 20) - 24;
    let too_large = caller.start_call(SERVER, ECHO, &vec![0; limit + 1], PATIENT, never);
    assert_eq!(too_large, Err(CallError::NotSent(SendError::TooLarge { limit })));
    let no_time = caller.call(SERVER, ECHO, b"", CallOptions::new(Duration::ZERO));
    assert_eq!(no_time, Err(CallError::Timeout));
    let of_nothing = caller.call(SERVER, ECHO, b"", CallOptions { is_repeat: true, ..PATIENT });
    assert_eq!(of_nothing, Err(CallError::NoXid));
    let own = CallOptions { xid: Some(Xid(5)), ..PATIENT };
    let call = caller.start_call(SERVER, ECHO, b"", own, |_, _| {}).expect("room");
    assert_eq!(caller.xid(call), Some(Xid(5)));
    assert_eq!(caller.start_call(SERVER, ECHO, b"", own, never), Err(CallError::XidInUse));
    let small = a.client(101).max_stored(2).connect().unwrap();
    for n in 0..3 {
        let started = small.start_call(SERVER, ECHO, b"", PATIENT, |_, _| {});
        assert_eq!(started.is_ok(), n < 2, "{started:?}");
    }
}
