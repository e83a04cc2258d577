//! What the command line can change of a seed's scenario: what a shrunk scenario is told with.

use std::fmt;

macro_rules! faults {
    ($($(#[doc = $doc:literal])+ $name:ident => $text:literal,)+) => {
        /// A kind of fault.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
        #[repr(u8)]
        pub enum Fault { $($(#[doc = $doc])+ $name,)+ }

        impl Fault {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$name),+];

            /// Its name on the command line and in the report.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => $text),+ }
            }
        }
    };
}

faults! {
    /// Datagrams vanish, independently.
    Loss => "loss",
    /// Datagrams vanish in bursts.
    Burst => "burst",
    /// Datagrams come twice, or more often.
    Duplicate => "duplicate",
    /// Datagrams overtake each other.
    Reorder => "reorder",
    /// Datagrams come late by up to several intervals.
    Delay => "delay",
    /// Bits flip.
    Corrupt => "corrupt",
    /// Datagrams above a size vanish.
    Mtu => "mtu",
    /// A direction between two nodes is cut.
    OneWay => "one-way",
    /// A node is cut off, or two are from each other.
    Partition => "partition",
    /// A link comes and goes.
    Flap => "flap",
    /// Clocks run at different speeds.
    Drift => "drift",
    /// A clock jumps ahead.
    JumpAhead => "jump-ahead",
    /// A clock jumps back.
    JumpBack => "jump-back",
    /// A node stands still; its clock goes on.
    Pause => "pause",
    /// A node stands still, and its clock with it.
    ClockStop => "clock-stop",
    /// A client stops reading, or taking messages, or everything.
    Stall => "stall",
    /// A client's process dies.
    Die => "die",
    /// A client says goodbye.
    Leave => "leave",
    /// A client sends as fast as it can.
    Flood => "flood",
    /// A node dies with all its processes, and comes back empty.
    Crash => "crash",
    /// A daemon dies alone, in the middle of a turn or between two; its clients come back to the next one (I6).
    LoneCrash => "lone-crash",
    /// A daemon stands still alone (a signal, a debugger); its clients, the clock and the sockets go on.
    Hang => "hang",
    /// A client takes no more, by itself or because an operator asks it or all of its node; it ends when it has nothing
    /// unresolved any more.
    Drain => "drain",
    /// A new process takes a client's number over.
    Takeover => "takeover",
    /// Clients call each other, beside messages: nothing goes wrong by that.
    Calls => "calls",
    /// A client that starts again repeats the calls that its last life had no answer to, with their XIDs.
    Repeat => "repeat",
    /// Now and then a handler takes longer than an interval, or what was taken waits for other threads that long.
    Slow => "slow",
}

/// Some kinds of faults.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct FaultSet(u32);

impl FaultSet {
    /// None.
    pub const NONE: Self = Self(0);

    /// With one more.
    #[must_use]
    pub const fn with(self, fault: Fault) -> Self {
        Self(self.0 | 1 << fault as u8)
    }

    /// Whether it is one of them.
    #[must_use]
    pub const fn has(self, fault: Fault) -> bool {
        self.0 & (1 << fault as u8) != 0
    }

    /// Reads a list of names with commas between.
    ///
    /// # Errors
    ///
    /// A name that no fault has.
    pub fn parse(text: &str) -> Result<Self, String> {
        text.split(',').filter(|name| !name.is_empty()).try_fold(Self::NONE, |set, name| {
            let fault = Fault::ALL.iter().find(|f| f.name() == name);
            fault.map(|f| set.with(*f)).ok_or_else(|| {
                let names: Vec<_> = Fault::ALL.iter().map(|f| f.name()).collect();
                format!("no such fault: {name}; there are {}", names.join(", "))
            })
        })
    }
}

impl fmt::Display for FaultSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = Fault::ALL.iter().filter(|x| self.has(**x)).map(|x| x.name()).collect();
        f.write_str(&names.join(","))
    }
}

/// What the command line can change of a seed's scenario.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Options {
    /// So many nodes, whatever the seed says.
    pub nodes: Option<usize>,
    /// At most so many clients.
    pub clients: Option<usize>,
    /// How long faults go on, in seconds.
    pub seconds: u64,
    /// These faults do not happen.
    pub without: FaultSet,
}

impl Default for Options {
    fn default() -> Self {
        Self { nodes: None, clients: None, seconds: 60, without: FaultSet::NONE }
    }
}

impl Options {
    /// The command line that runs this scenario again.
    #[must_use]
    pub fn command_line(&self, seed: u64) -> String {
        let mut line = format!("cargo run --release -p msg-tests --bin sim -- --seed {seed}");
        let mut add = |text: String| line.push_str(&text);
        if let Some(nodes) = self.nodes {
            add(format!(" --nodes {nodes}"));
        }
        if let Some(clients) = self.clients {
            add(format!(" --clients {clients}"));
        }
        if self.seconds != Self::default().seconds {
            add(format!(" --seconds {}", self.seconds));
        }
        if self.without != FaultSet::NONE {
            add(format!(" --without {}", self.without));
        }
        line
    }
}
