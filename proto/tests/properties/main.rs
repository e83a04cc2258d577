//! Properties of the codecs: what is written is read back the same, and no bytes at all can do harm.
//!
//! * `frames`: every frame between daemons. `datagrams`: sequences of them, sealed. `local`: the socket's frames.
//! * `numbers`: serial arithmetic and version ranges against naive models. `sizes`: what a frame is said to take.
//!
//! A failing case is kept by proptest in a `.regressions` file beside its source; its commit says what it was.

mod datagrams;
mod frames;
mod local;
mod numbers;
mod sizes;

use msg_proto::{
    ids::{Channel, ClientId, FlowId, Incarnation, Instance},
    limits,
    outcome::{Certainty, Reason, Verdict},
    units::Span,
};
use proptest::{prelude::*, sample::select, test_runner::FileFailurePersistence};

fn config() -> ProptestConfig {
    let kept = FileFailurePersistence::WithSource("regressions");
    ProptestConfig { failure_persistence: Some(Box::new(kept)), ..ProptestConfig::default() }
}

/// Any byte string up to `most`, short ones as often as long ones.
fn bytes(most: usize) -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..=16.min(most)),
        prop::collection::vec(any::<u8>(), 0..=most)
    ]
}

fn channel() -> impl Strategy<Value = Channel> {
    select(vec![Channel::Ordered, Channel::Unordered])
}

fn incarnation() -> impl Strategy<Value = Incarnation> {
    prop_oneof![1..=5u64, 1..=u64::MAX].prop_map(Incarnation)
}

fn instance() -> impl Strategy<Value = Instance> {
    (any::<u32>(), incarnation())
        .prop_map(|(client, incarnation)| Instance { client: ClientId(client), incarnation })
}

fn flow_id() -> impl Strategy<Value = FlowId> {
    (instance(), instance(), channel()).prop_map(|(src, dst, channel)| FlowId { src, dst, channel })
}

fn interval() -> impl Strategy<Value = Span> {
    (limits::MIN_INTERVAL_MS..=limits::MAX_INTERVAL_MS).prop_map(|ms| Span::from_millis(u64::from(ms)))
}

fn verdict() -> impl Strategy<Value = Verdict> {
    let certainty = select(vec![Certainty::NotStarted, Certainty::Unknown]);
    (select(Reason::ALL.to_vec()), certainty).prop_map(|(reason, certainty)| Verdict { reason, certainty })
}
