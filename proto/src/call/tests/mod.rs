//! What calls do, on their own and against a naive model.

mod caller;
mod header;
mod lives;
mod model;
mod server;

use super::{Procedure, Requester, Xid, XidSource};
use crate::{
    ids::{ClientId, Incarnation, Instance},
    units::Span,
};

const PROCEDURE: Procedure = Procedure(7);
const XID: Xid = Xid(0x0102_0304_0506_0708);
const SECOND: Span = Span::from_millis(1000);

fn requester(client: u32, uid: u32, node: &str) -> Requester {
    let instance = Instance { client: ClientId(client), incarnation: Incarnation(1) };
    Requester { instance, uid, node: node.into() }
}

#[test]
fn xids_differ_and_do_not_tell_the_next() {
    let draw = |key: u8| {
        let mut source = XidSource::new([key; 16]);
        (0..10_000).map(|_| source.draw().0).collect::<Vec<_>>()
    };
    let xids = draw(1);
    let mut sorted = xids.clone();
    sorted.sort_unstable();
    sorted.dedup();
    assert_eq!(sorted.len(), xids.len());
    assert_eq!(xids, draw(1));
    assert_ne!(xids[..10], draw(2)[..10]);
    // Half of the bits change from each to the next, give or take.
    let changed: u32 = xids.windows(2).map(|pair| (pair[0] ^ pair[1]).count_ones()).sum();
    assert!((31 * 9999..33 * 9999).contains(&changed), "{changed}");
    assert!(!sorted.contains(&0));
}
