//! Hash maps by numbers.

use std::collections::HashMap;

/// A map by clientids, instances, flows, sessions: keys of a few bytes, some looked for once a datagram. With SipHash that was 900 of
/// the 19,300 instructions of a message that goes alone. Who chooses the keys is a client or a peer that was let in; the maps' sizes
/// have limits, and their seeds are random.
pub(super) type Map<K, V> = HashMap<K, V, foldhash::fast::RandomState>;
