//! The frames of the local socket, as values that own their bytes, one at a time and as a stream.

use msg_proto::{
    control::{Arrival, LocalNack, LocalRule, Register, Registered, VersionRange},
    ids::{Channel, ClientId, MsgId, Seq},
    limits,
    local::{
        Addressee, Bound, CallOrigin, ClientFrame, DaemonFrame, Deliver, DrainCause, Failed, FlowTaken,
        HEAD_BYTES, PresentInstance, Progress, RawFrame, Submit, Watch, put, split,
    },
    units::Time,
};
use proptest::{collection::vec, option, prelude::*, sample::select};

use super::{bytes, channel, config, incarnation, instance, interval, verdict};

/// Appends frames to a stream.
fn put_client(out: &mut Vec<u8>, frame: &ClientFrame<'_>) {
    match frame {
        ClientFrame::Register(register) => put::register(out, register),
        ClientFrame::FlowTaken(taken) => put::flow_taken(out, taken),
        ClientFrame::Ready => put::ready(out),
        ClientFrame::Submit(submit) => put::submit(out, submit),
        ClientFrame::Taken { upto } => put::taken(out, *upto),
        ClientFrame::Stale { number } => put::stale(out, *number),
        ClientFrame::Goodbye => put::client_goodbye(out),
        ClientFrame::FlowBound(bound) => put::flow_bound(out, bound),
        ClientFrame::Drained => put::drained(out),
        ClientFrame::Subscribe { client } => put::subscribe(out, *client),
        ClientFrame::Withdraw { msgid } => put::withdraw(out, *msgid),
        ClientFrame::GivenUp { upto } => put::given_up(out, *upto),
        ClientFrame::Watch(watch) => put::watch(out, watch),
    }
}

fn put_daemon(out: &mut Vec<u8>, frame: &DaemonFrame<'_>) {
    match frame {
        DaemonFrame::Registered(registered) => put::registered(out, registered),
        DaemonFrame::Deliver(deliver) => put::deliver(out, deliver),
        DaemonFrame::Resolved(resolved) => put::resolved(out, &resolved.runs().collect::<Vec<_>>()),
        DaemonFrame::Failed(failed) => put::failed(out, failed),
        DaemonFrame::Nack(nack) => put::nack(out, nack),
        DaemonFrame::Goodbye => put::daemon_goodbye(out),
        DaemonFrame::Bound(bound) => put::bound(out, bound),
        DaemonFrame::Drain(cause) => put::drain(out, *cause),
        DaemonFrame::Presence(p) => {
            put::presence(out, p.client, p.is_partial, &p.instances().collect::<Vec<_>>());
        }
        DaemonFrame::Gone(instance) => put::gone(out, *instance),
        DaemonFrame::Unbound { dst, channel } => put::unbound(out, *dst, *channel),
    }
}

/// A frame whose bytes live as long as the test: proptest's values own nothing borrowed.
fn kept(bytes: Vec<u8>) -> &'static [u8] {
    Box::leak(bytes.into_boxed_slice())
}

fn register() -> impl Strategy<Value = Register> {
    let interval_ms = prop_oneof![Just(0), limits::MIN_INTERVAL_MS..=limits::MAX_INTERVAL_MS];
    let who = (any::<(u8, u8)>(), any::<u32>(), any::<u64>(), "[ -~\u{e4}]{0,32}");
    let place = (any::<u8>(), arrival());
    (who, interval_ms, any::<Option<u8>>(), 0..=limits::MAX_STORED_CEILING, place).prop_map(
        |(
            ((lowest, highest), client, incarnation, name),
            interval_ms,
            times,
            max_stored,
            (priority, arrival),
        )| {
            Register {
                versions: VersionRange { lowest, highest },
                client: ClientId(client),
                incarnation: msg_proto::ids::Incarnation(incarnation),
                interval_ms,
                times,
                max_stored,
                priority,
                arrival,
                name,
            }
        },
    )
}

fn arrival() -> impl Strategy<Value = Arrival> {
    select(vec![Arrival::Alone, Arrival::Beside, Arrival::Takeover, Arrival::Leaving])
}

fn bound() -> impl Strategy<Value = Bound<'static>> {
    (instance(), channel(), any::<u32>(), "[a-z0-9-]{0,64}").prop_map(|(dst, channel, upto, node)| Bound {
        dst,
        channel,
        upto: Seq(upto),
        node: Box::leak(node.into_boxed_str()),
    })
}

fn presence() -> impl Strategy<Value = DaemonFrame<'static>> {
    let instances = vec((incarnation(), any::<u8>()), 0..20);
    (any::<u32>(), any::<bool>(), instances).prop_map(|(client, is_partial, instances)| {
        let present = |(incarnation, priority)| PresentInstance { incarnation, priority };
        let instances: Vec<_> = instances.into_iter().map(present).collect();
        let mut out = Vec::new();
        put::presence(&mut out, ClientId(client), is_partial, &instances);
        let (raw, _) = split(kept(out)).expect("a head").expect("whole");
        DaemonFrame::parse(raw).expect("a frame")
    })
}

fn registered() -> impl Strategy<Value = Registered> {
    let numbers = (any::<u8>(), any::<u64>(), any::<u8>(), any::<u32>(), any::<u64>(), any::<u32>());
    (numbers, "[a-z0-9-]{1,64}", incarnation(), interval()).prop_map(
        |((version, start, times, max_stored, max_stored_bytes, max_message_bytes), node, incarnation, i)| {
            let interval_ms = u32::try_from(i.as_millis()).expect("in range");
            Registered {
                version,
                node,
                start,
                incarnation,
                interval_ms,
                times,
                max_stored,
                max_stored_bytes,
                max_message_bytes,
            }
        },
    )
}

fn submit() -> impl Strategy<Value = Submit<'static>> {
    let user = vec(any::<u8>(), 0..=limits::MAX_USER_BYTES);
    let how = prop_oneof![
        (channel(), any::<(bool, bool)>())
            .prop_map(|(channel, (repeats, is_call))| (channel, repeats, is_call, None)),
        bound().prop_map(|b| {
            let to = Addressee { incarnation: b.dst.incarnation, node: b.node };
            (Channel::Unordered, false, true, Some(to))
        }),
    ];
    (any::<(u32, u32, u32, u64)>(), how, user, bytes(2000)).prop_map(
        |((dst, msgid, seq, send_time), (channel, at_least_once, is_call, to), user, payload)| Submit {
            dst: ClientId(dst),
            msgid: MsgId(msgid),
            seq: Seq(seq),
            channel,
            at_least_once,
            is_call,
            to,
            send_time: Time(send_time),
            user: kept(user),
            payload: kept(payload),
        },
    )
}

fn client_frame() -> impl Strategy<Value = ClientFrame<'static>> {
    let progress = prop_oneof![Just(Progress::Begun), Just(Progress::Taken)];
    let taken = (instance(), channel(), any::<u32>(), progress, bytes(limits::SEQ_SPAN as usize / 8));
    prop_oneof![
        register().prop_map(ClientFrame::Register),
        taken.prop_map(|(src, channel, floor, progress, bitmap)| {
            let (floor, bitmap) = (Seq(floor), kept(bitmap));
            ClientFrame::FlowTaken(FlowTaken { src, channel, floor, progress, bitmap })
        }),
        Just(ClientFrame::Ready),
        submit().prop_map(ClientFrame::Submit),
        any::<u64>().prop_map(|upto| ClientFrame::Taken { upto }),
        any::<u64>().prop_map(|number| ClientFrame::Stale { number }),
        Just(ClientFrame::Goodbye),
        bound().prop_map(ClientFrame::FlowBound),
        Just(ClientFrame::Drained),
        any::<u32>().prop_map(|client| ClientFrame::Subscribe { client: ClientId(client) }),
        any::<u32>().prop_map(|msgid| ClientFrame::Withdraw { msgid: MsgId(msgid) }),
        any::<u32>().prop_map(|upto| ClientFrame::GivenUp { upto: MsgId(upto) }),
        bound().prop_map(|b| ClientFrame::Watch(Watch { instance: b.dst, node: b.node })),
    ]
}

fn deliver() -> impl Strategy<Value = Deliver<'static>> {
    let numbers = (1..=u64::MAX, any::<(u32, u32, u32, u32)>(), any::<u64>());
    let node = ["", "n", "a name of sixty-four bytes, the longest that any node may have!!"];
    let call = option::of((any::<(u64, u32, bool)>(), select(node.to_vec())).prop_map(
        |((sent_at, uid, is_addressed), node)| CallOrigin { sent_at: Time(sent_at), uid, node, is_addressed },
    ));
    (numbers, instance(), channel(), interval(), (call, bytes(2000))).prop_map(
        |((number, (msgid, seq, floor, round), send_time), src, channel, interval, (call, payload))| {
            Deliver {
                number,
                src,
                msgid: MsgId(msgid),
                seq: Seq(seq),
                floor: Seq(floor),
                channel,
                send_time: Time(send_time),
                interval,
                round,
                call,
                payload: kept(payload),
            }
        },
    )
}

fn rule() -> impl Strategy<Value = LocalRule> {
    select(vec![
        LocalRule::Malformed,
        LocalRule::Version,
        LocalRule::ClientIdTaken,
        LocalRule::NotAllowed,
        LocalRule::TooManyClients,
        LocalRule::RegisterTimeout,
        LocalRule::OutOfTurn,
        LocalRule::BadSequence,
        LocalRule::Quota,
        LocalRule::Superseded,
    ])
}

fn daemon_frame() -> impl Strategy<Value = DaemonFrame<'static>> {
    let failed = (any::<(u32, u32, u32)>(), verdict(), vec(any::<u8>(), 0..=limits::MAX_USER_BYTES));
    let nack = (rule(), "[ -~]{0,512}").prop_map(|(rule, text)| DaemonFrame::Nack(LocalNack { rule, text }));
    prop_oneof![
        registered().prop_map(DaemonFrame::Registered),
        deliver().prop_map(DaemonFrame::Deliver),
        failed.prop_map(|((msgid, dst, tries), verdict, user)| {
            let (msgid, dst, user) = (MsgId(msgid), ClientId(dst), kept(user));
            DaemonFrame::Failed(Failed { msgid, dst, tries, verdict, user })
        }),
        nack,
        Just(DaemonFrame::Goodbye),
        bound().prop_map(|bound| DaemonFrame::Bound(Bound { upto: Seq(0), ..bound })),
        select(vec![DrainCause::Superseded, DrainCause::Asked]).prop_map(DaemonFrame::Drain),
        presence(),
        instance().prop_map(DaemonFrame::Gone),
        bound().prop_map(|Bound { dst, channel, .. }| DaemonFrame::Unbound { dst: dst.client, channel }),
    ]
}

/// A frame of any type and flags whose length is right, and whose body is anything.
fn raw_frame() -> impl Strategy<Value = (u8, u8, Vec<u8>)> {
    let kind = prop_oneof![0..13u8, 64..76u8, any::<u8>()];
    let body = prop_oneof![bytes(80), vec(prop_oneof![3 => Just(0u8), 1 => any::<u8>()], 0..80)];
    (kind, 0..4u8, body)
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn a_clients_frame_comes_back(frame in client_frame()) {
        let mut out = Vec::new();
        put_client(&mut out, &frame);
        let (raw, len) = split(&out).expect("a head").expect("whole");
        prop_assert_eq!(len, out.len());
        prop_assert_eq!(ClientFrame::parse(raw), Ok(frame));
        prop_assert!(DaemonFrame::parse(raw).is_err(), "no type is both sides'");
    }

    #[test]
    fn a_daemons_frame_comes_back(frame in daemon_frame()) {
        let mut out = Vec::new();
        put_daemon(&mut out, &frame);
        let (raw, len) = split(&out).expect("a head").expect("whole");
        prop_assert_eq!(len, out.len());
        prop_assert_eq!(DaemonFrame::parse(raw), Ok(frame));
        prop_assert!(ClientFrame::parse(raw).is_err(), "no type is both sides'");
    }

    #[test]
    fn unknown_flags_are_refused(client in client_frame(), daemon in daemon_frame(), bit in 0..8u8) {
        let mut out = Vec::new();
        put_client(&mut out, &client);
        let raw = |out: &[u8]| (out[4], out[5] | 1 << bit, out[HEAD_BYTES..].to_vec());
        let (kind, flags, body) = raw(&out);
        let known = match client {
            ClientFrame::Submit(_) => 3,
            ClientFrame::FlowTaken(_) => 2,
            ClientFrame::FlowBound(_) => 1,
            _ => 0,
        };
        let parsed = ClientFrame::parse(RawFrame { kind, flags, body: &body });
        // To one instance or to any, a message is cut differently, and what goes with it is fixed.
        let is_recut = matches!(client, ClientFrame::Submit(Submit { to, .. }) if to.is_some() || bit == 3);
        prop_assert!(parsed.is_ok() == (bit < known) || is_recut);
        out.clear();
        put_daemon(&mut out, &daemon);
        let (kind, flags, body) = raw(&out);
        let is_deliver = matches!(daemon, DaemonFrame::Deliver(_));
        let is_flagged =
            matches!(daemon, DaemonFrame::Bound(_) | DaemonFrame::Unbound { .. } | DaemonFrame::Presence(_));
        let is_call = matches!(daemon, DaemonFrame::Deliver(Deliver { call: Some(_), .. }));
        let is_known =
            (is_deliver && (bit == 0 || bit == 2)) || (is_call && bit == 3) || (is_flagged && bit == 0);
        let parsed = DaemonFrame::parse(RawFrame { kind, flags, body: &body });
        // A plain one is cut differently when it says that it is a call.
        let is_recut = matches!(daemon, DaemonFrame::Deliver(Deliver { call: None, .. })) && bit == 2;
        prop_assert!(parsed.is_ok() == is_known || is_recut);
    }

    #[test]
    fn resolved_runs_come_back(runs in vec((any::<u32>().prop_map(MsgId), 1..=limits::MSGID_SPAN), 1..300)) {
        let mut out = Vec::new();
        put::resolved(&mut out, &runs);
        let (raw, _) = split(&out).expect("a head").expect("whole");
        let Ok(DaemonFrame::Resolved(resolved)) = DaemonFrame::parse(raw) else { panic!("{raw:?}") };
        prop_assert_eq!(resolved.runs().collect::<Vec<_>>(), runs);
    }

    /// A stream may be cut anywhere: what is there is found, what is not there is waited for.
    #[test]
    fn a_stream_comes_back(frames in vec(client_frame(), 0..5), reads in vec(1..700usize, 1..20)) {
        let mut stream = Vec::new();
        for frame in &frames {
            put_client(&mut stream, frame);
        }
        let (mut held, mut read, mut sizes) = (Vec::new(), Vec::new(), reads.iter().cycle());
        while !stream.is_empty() {
            let n = stream.len().min(*sizes.next().expect("a cycle"));
            held.extend(stream.drain(..n));
            while let Some((raw, len)) = split(&held).expect("a head") {
                let frame = ClientFrame::parse(raw).expect("a frame");
                let mut again = Vec::new();
                put_client(&mut again, &frame);
                prop_assert_eq!(&again, &held[..len]);
                read.push(again);
                held.drain(..len);
            }
        }
        prop_assert!(held.is_empty());
        prop_assert_eq!(read.len(), frames.len());
    }

    /// What is read can be written, and then it is the same bytes: nothing has two forms. And none does harm.
    #[test]
    fn what_is_read_has_one_form((kind, flags, body) in raw_frame()) {
        let raw = RawFrame { kind, flags, body: &body };
        let len = u32::try_from(HEAD_BYTES + body.len()).expect("short").to_le_bytes();
        let bytes = [&len[..], &[kind, flags, 0, 0], &body].concat();
        prop_assert_eq!(split(&bytes), Ok(Some((raw, bytes.len()))));
        let mut out = Vec::new();
        if let Ok(frame) = ClientFrame::parse(raw) {
            put_client(&mut out, &frame);
            prop_assert_eq!(&out, &bytes);
        }
        out.clear();
        if let Ok(frame) = DaemonFrame::parse(raw) {
            put_daemon(&mut out, &frame);
            prop_assert_eq!(&out, &bytes);
        }
    }

    #[test]
    fn no_bytes_do_harm(garbage in bytes(300)) {
        if let Ok(Some((raw, len))) = split(&garbage) {
            prop_assert!((HEAD_BYTES..=garbage.len()).contains(&len));
            let _client = ClientFrame::parse(raw).is_ok();
            let _daemon = DaemonFrame::parse(raw).is_ok();
        }
    }

    #[test]
    fn a_cut_frame_is_not_there_yet(frame in client_frame()) {
        let mut out = Vec::new();
        put_client(&mut out, &frame);
        for cut in 0..out.len() {
            prop_assert_eq!(split(&out[..cut]), Ok(None));
        }
    }

    /// A frame whose length was cut with it: each shorter body is refused, or is a value of its own.
    #[test]
    fn a_shorter_body_is_refused_or_another_value(client in client_frame(), daemon in daemon_frame()) {
        let (mut c, mut d) = (Vec::new(), Vec::new());
        put_client(&mut c, &client);
        put_daemon(&mut d, &daemon);
        let raw = |bytes: &'static [u8], len: usize| RawFrame {
            kind: bytes[4],
            flags: bytes[5],
            body: &bytes[HEAD_BYTES..len],
        };
        let (c, d) = (kept(c), kept(d));
        for len in HEAD_BYTES..c.len() {
            prop_assert_ne!(ClientFrame::parse(raw(c, len)), Ok(client.clone()));
        }
        for len in HEAD_BYTES..d.len() {
            prop_assert_ne!(DaemonFrame::parse(raw(d, len)), Ok(daemon.clone()));
        }
    }
}
