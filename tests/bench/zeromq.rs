//! ZeroMQ: DEALER to ROUTER over TCP, without a daemon, and without acknowledgements.

use crate::{
    endpoint::{Bounce, Endpoint, MOMENT, Stamp, lock},
    party::{PartyArgs, Side},
};

pub(crate) struct Zmq {
    socket: zmq::Socket,
    /// Of side A, as side B has it.
    identity: Vec<u8>,
    message: zmq::Message,
    is_router: bool,
}

impl Zmq {
    pub(crate) fn open(args: &PartyArgs) -> Result<Self, zmq::Error> {
        let is_router = args.side == Side::B;
        let socket = zmq::Context::new().socket(if is_router { zmq::ROUTER } else { zmq::DEALER })?;
        let moment = i32::try_from(MOMENT.as_millis()).unwrap_or(i32::MAX);
        socket.set_rcvtimeo(moment)?;
        socket.set_sndtimeo(moment)?;
        socket.set_linger(0)?;
        let at = format!("tcp://{}", args.local.display());
        if is_router {
            socket.bind(&at)?
        } else {
            socket.connect(&at)?
        };
        Ok(Self { socket, identity: Vec::new(), message: zmq::Message::new(), is_router })
    }

    fn read(&mut self) -> Option<&[u8]> {
        self.socket.recv(&mut self.message, 0).ok()?;
        if self.is_router {
            if self.identity.is_empty() {
                self.identity = self.message.to_vec();
            }
            self.socket.recv(&mut self.message, 0).ok()?;
        }
        Some(&self.message)
    }
}

impl Endpoint for Zmq {
    fn send(&mut self, message: &[u8]) -> bool {
        if self.is_router && self.socket.send(&self.identity, zmq::SNDMORE).is_err() {
            return false;
        }
        self.socket.send(message, 0).is_ok()
    }

    fn receive(&mut self, each: &mut dyn FnMut(Stamp)) {
        self.read().map(Stamp::read).into_iter().for_each(each);
    }

    fn echo(&mut self, bounce: &Bounce) {
        if let Some(mut message) = self.read().map(<[u8]>::to_vec) {
            lock(bounce)(&mut message);
            self.send(&message);
        }
    }
}
