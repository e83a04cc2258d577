//! A client's fault costs that client its connection, and nobody else anything.

use msg_proto::{
    control::{LocalRule, Register, VersionRange},
    engine::Credentials,
    ids::{ClientId, Incarnation},
    local::{DaemonFrame, put, split},
};

use super::world::World;

#[test]
fn nonsense_from_a_registered_client_ends_its_connection_and_names_it() {
    let mut w = World::new();
    let now = w.clock(0);
    let engine = &mut w.engines[0];
    let conn = engine.handle_connect(now, Credentials { pid: 7, uid: 0, gid: 0 }).expect("few connections");
    let register = Register {
        versions: VersionRange { lowest: 1, highest: 1 },
        client: ClientId(100),
        incarnation: Incarnation::NONE,
        interval_ms: 0,
        times: None,
        max_stored: 0,
        priority: 0,
        arrival: msg_proto::control::Arrival::Alone,
        name: "test".to_owned(),
    };
    let mut stream = Vec::new();
    put::register(&mut stream, &register);
    put::ready(&mut stream);
    // A frame shorter than its head. The client has nothing in the chain: it is forgotten as it departs.
    stream.extend_from_slice(&[0; 8]);
    engine.handle_client_bytes(now, conn, &stream);

    assert_eq!(engine.poll_close(), Some(conn));
    let fault = engine.fault(conn).expect("a fault");
    assert_eq!((fault.client, fault.pid, fault.rule), (Some(ClientId(100)), 7, LocalRule::Malformed));
    let mut output = engine.output(conn);
    let mut last = None;
    while let Ok(Some((raw, len))) = split(output) {
        last = DaemonFrame::parse(raw).ok();
        output = &output[len..];
    }
    assert!(matches!(last, Some(DaemonFrame::Nack(nack)) if nack.rule == LocalRule::Malformed));
    engine.handle_disconnect(now, conn);
    assert!(engine.status(now).clients.is_empty());
}
