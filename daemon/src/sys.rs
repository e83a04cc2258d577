//! Questions to the system that the standard library does not put.

use std::{io, os::fd::AsFd};

use msg_proto::engine::Credentials;
use nix::{
    sys::{
        resource::{Resource, getrlimit, setrlimit},
        socket::{getsockopt, setsockopt, sockopt},
    },
    unistd::{Group, User},
};

/// This host's name, as `uname` gives it.
#[must_use]
pub(crate) fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// The number of a user. May ask directory services, and block.
pub(crate) fn uid_of(name: &str) -> io::Result<Option<u32>> {
    Ok(User::from_name(name)?.map(|user| user.uid.as_raw()))
}

/// The number of a group. May ask directory services, and block.
pub(crate) fn gid_of(name: &str) -> io::Result<Option<u32>> {
    Ok(Group::from_name(name)?.map(|group| group.gid.as_raw()))
}

/// Who is at the other end. The process is 0 if it is not visible from this PID namespace.
pub(crate) fn peer_credentials(socket: &impl AsFd) -> io::Result<Credentials> {
    let peer = getsockopt(socket, sockopt::PeerCredentials)?;
    Ok(Credentials { pid: u32::try_from(peer.pid()).unwrap_or(0), uid: peer.uid(), gid: peer.gid() })
}

/// Asks for a receive buffer: beyond `net.core.rmem_max` if permitted, else as far as that goes. Returns how many
/// bytes of payload it holds: the kernel doubles what is asked for, to have room for its own bookkeeping.
pub(crate) fn set_receive_buffer(socket: &impl AsFd, bytes: usize) -> io::Result<usize> {
    // One that the service manager has made large enough would only lose by being asked again.
    if getsockopt(socket, sockopt::RcvBuf)? / 2 < bytes
        && setsockopt(socket, sockopt::RcvBufForce, &bytes).is_err()
    {
        setsockopt(socket, sockopt::RcvBuf, &bytes)?;
    }
    Ok(getsockopt(socket, sockopt::RcvBuf)? / 2)
}

/// As [`set_receive_buffer`], for what is sent.
pub(crate) fn set_send_buffer(socket: &impl AsFd, bytes: usize) -> io::Result<usize> {
    if getsockopt(socket, sockopt::SndBuf)? / 2 < bytes
        && setsockopt(socket, sockopt::SndBufForce, &bytes).is_err()
    {
        setsockopt(socket, sockopt::SndBuf, &bytes)?;
    }
    Ok(getsockopt(socket, sockopt::SndBuf)? / 2)
}

/// Has datagrams come without what `quinn-udp` asks to be told with each and nobody here looks at: when it came, for which
/// address, and with which class of traffic. What coalesces datagrams stays. Where the system refuses, they come with it.
pub(crate) fn forgo_ancillary_data(socket: &impl AsFd, is_ipv6: bool) {
    let outcomes = if is_ipv6 {
        [
            setsockopt(socket, sockopt::Ipv6RecvPacketInfo, &false),
            setsockopt(socket, sockopt::Ipv6RecvTClass, &false),
        ]
    } else {
        [setsockopt(socket, sockopt::Ipv4PacketInfo, &false), setsockopt(socket, sockopt::IpRecvTos, &false)]
    };
    for outcome in outcomes.into_iter().chain([setsockopt(socket, sockopt::ReceiveTimestampns, &false)]) {
        if let Err(error) = outcome {
            tracing::debug!("a socket's ancillary data stay: {error}");
        }
    }
}

/// Raises the soft limit of open files to `wanted`, or as far as the hard limit goes. Returns what it is then.
pub(crate) fn raise_open_files(wanted: u64) -> io::Result<u64> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    let raised = wanted.min(hard);
    if raised <= soft {
        return Ok(soft);
    }
    setrlimit(Resource::RLIMIT_NOFILE, raised, hard)?;
    Ok(raised)
}
