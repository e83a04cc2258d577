//! A message with its own bytes.

use msg_proto::{
    ids::{Channel, Instance, MsgId},
    session::Message,
    units::Span,
};

/// A message that was taken, with its own copy of the bytes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Received {
    /// Who sent it.
    pub src: Instance,
    /// Its number in its sender's process.
    pub msgid: MsgId,
    /// Whether it was sent in order.
    pub channel: Channel,
    /// How long before it was taken its copy had been sent, by this node's clock.
    pub age: Span,
    /// Its bytes.
    pub data: Vec<u8>,
}

impl From<Message<'_>> for Received {
    fn from(m: Message<'_>) -> Self {
        let Message { src, msgid, channel, age, data } = m;
        Self { src, msgid, channel, age, data: data.to_vec() }
    }
}
