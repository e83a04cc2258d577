//! Hot deployment and rolling restarts, under traffic: nothing is lost, doubled or disordered.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use msg::{CallError, CallOptions, Certainty, Client, ClientId, Reply, SendError};
use msg_tests::{
    client_process::{ClientProcess, ClientSpec, ECHO},
    node::{Node, NodeSpec, join},
    party::Party,
    pattern,
    promise::{self, Outcomes, Receiver},
    report,
    wait::{self, StopOnDrop},
};
use msgd::clock;

const SIZES: (usize, usize) = (4, 60);

/// Sends a few at a time to each of `services` until told to stop.
fn keep_sending(party: &Party, services: &[u32], batch: u32, stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        for service in services {
            party.send(*service, batch);
        }
        thread::park_timeout(Duration::from_millis(10));
    }
}

/// [`promise::check_all`], and the order held from one instance to the next: all clocks are this host's.
fn check(from: &Party, to: &[ClientProcess]) -> Outcomes {
    let receivers: Vec<&dyn Receiver> = to.iter().map(|process| process as &dyn Receiver).collect();
    let outcomes = promise::check_all(from, &receivers);
    let mut taken: Vec<_> = to.iter().flat_map(|process| process.taken_from(from.id())).collect();
    taken.sort_by_key(|taken| taken.at);
    let numbers: Vec<_> = taken.iter().filter_map(|taken| pattern::index_of(&taken.data)).collect();
    assert!(numbers.is_sorted(), "I5 across instances");
    outcomes
}

#[test]
fn a_server_is_replaced_50_times_by_takeover_under_traffic() {
    let seed = report::seed("takeovers", 20_260_909);
    let spec = |name| NodeSpec::new(name).chain("interval_ms = 500\ntimes = 20");
    let (mut a, mut b) = (spec("a"), spec("b"));
    join(&mut a, &mut b);
    let (a, b) = (Node::start(&a), Node::start(&b));
    let sizes = SIZES.0..=SIZES.1;
    let callers =
        [Party::join(100, a.client(100), seed, sizes.clone()), Party::join(101, b.client(101), seed, sizes)];
    let server =
        |modes| ClientProcess::start(ClientSpec { modes, ..ClientSpec::new(b.socket(), 200, seed, SIZES) });
    let mut servers = vec![server(&["threads"])];
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        for caller in &callers {
            scope.spawn(|| keep_sending(caller, &[200], 25, &stop));
        }
        for _ in 0..50 {
            let next = server(&["takeover", "threads"]);
            servers.last_mut().expect("the first").wait_for_drained();
            servers.push(next);
            let taken = servers.last().expect("the new one").taken();
            servers.last().expect("the new one").wait_for_taken(taken + 50);
        }
        stop.store(true, Ordering::Relaxed);
    });
    for caller in &callers {
        let outcomes = check(caller, &servers);
        report::line(format_args!("takeovers: {outcomes}"));
        assert_eq!(outcomes.failures(), 0, "{outcomes}");
    }
}

/// Calls at a steady rate, whether replies come or not, and remembers what came of each.
struct Caller {
    client: Client,
    id: ClientId,
    seed: u64,
    a_second: u32,
    calls: u32,
    replies: Arc<Mutex<Vec<Answered>>>,
}

/// What came of one call.
struct Answered {
    index: u32,
    result: Result<Reply, CallError>,
    after_ms: f64,
}

const CALLERS: u32 = 5;
const CALLS_A_SECOND: u32 = 5_000;

impl Caller {
    fn new(node: &Node, id: u32, seed: u64, a_second: u32) -> Self {
        let client = node.client(id).connect().expect("registered");
        Self { client, id: ClientId(id), seed, a_second, calls: 0, replies: Arc::default() }
    }

    fn request(&self, index: u32) -> Vec<u8> {
        pattern::payload(self.seed, (self.id, ClientId(200)), index, &(SIZES.0..=SIZES.1))
    }

    fn keep_calling(&mut self, stop: &AtomicBool) {
        let begun = clock::now();
        while !stop.load(Ordering::Relaxed) {
            let elapsed_us = clock::now().since(begun).0;
            let due = elapsed_us * u64::from(self.a_second) / 1_000_000;
            while u64::from(self.calls) < due && self.start_call() {}
            self.client.dispatch(Duration::from_millis(2)).expect("not refused");
        }
        wait::until("every call has its outcome", || {
            self.client.dispatch(Duration::from_millis(100)).expect("not refused");
            lock(&self.replies).len() == self.calls as usize
        });
    }

    /// Whether there was room for one more.
    fn start_call(&mut self) -> bool {
        let (index, at, replies) = (self.calls, clock::now(), self.replies.clone());
        let options = CallOptions::new(wait::PATIENCE);
        let request = self.request(index);
        let started = self.client.start_call(ClientId(200), ECHO, &request, options, move |_, result| {
            lock(&replies).push(Answered { index, result, after_ms: wait::ms_since(at) });
        });
        match started {
            Ok(_) => self.calls += 1,
            Err(CallError::NotSent(SendError::WouldBlock)) => return false,
            Err(error) => panic!("{error}"),
        }
        true
    }

    /// No call ran twice, those that have a reply have their own and ran, and the others failed `Unknown`: how many.
    fn check_once(&self, servers: &[ClientProcess]) -> usize {
        let replies = lock(&self.replies);
        let runs = servers.iter().flat_map(|server| server.taken_from(self.id));
        let mut ran: Vec<_> = runs.filter_map(|run| pattern::index_of(&run.data)).collect();
        ran.sort_unstable();
        assert!(ran.is_sorted_by(|a, b| a < b), "a call of client {} ran twice", self.id);
        let mut unknown = 0;
        for Answered { index, result, .. } in replies.iter() {
            match result {
                Ok(reply) => {
                    assert_eq!(reply.data, self.request(*index), "the reply of call {index}");
                    assert!(ran.binary_search(index).is_ok(), "call {index} has a reply, and never ran");
                }
                Err(error) => {
                    assert_eq!(error.certainty(), Certainty::Unknown, "call {index}: {error}");
                    unknown += 1;
                }
            }
        }
        unknown
    }

    /// No call failed, none ran twice, and they ran in the order in which they were made. Returns the longest wait.
    fn check(&self, servers: &[ClientProcess]) -> f64 {
        let replies = lock(&self.replies);
        for Answered { index, result, .. } in replies.iter() {
            let reply = result.as_ref().unwrap_or_else(|error| panic!("call {index}: {error}"));
            assert_eq!(reply.data, self.request(*index), "the reply of call {index}");
        }
        let mut runs: Vec<_> = servers.iter().flat_map(|server| server.taken_from(self.id)).collect();
        runs.sort_by_key(|run| run.at);
        let indexes: Vec<_> = runs.iter().filter_map(|run| pattern::index_of(&run.data)).collect();
        let mut once = indexes.clone();
        once.sort_unstable();
        assert!(once.iter().copied().eq(0..self.calls), "each ran once: {} of {}", once.len(), self.calls);
        let disorder = indexes.iter().zip(0..).find(|(index, expected)| *index != expected);
        assert_eq!(disorder, None, "the order in which client {}'s calls ran", self.id);
        replies.iter().map(|answered| answered.after_ms).fold(0.0, f64::max)
    }
}

#[test]
fn a_server_under_5000_calls_a_second_is_replaced_50_times_and_no_call_fails() {
    let seed = report::seed("hot deployment", 20_260_912);
    let spec = |name| NodeSpec::new(name).chain("interval_ms = 500\ntimes = 20");
    let (mut a, mut b) = (spec("a"), spec("b"));
    join(&mut a, &mut b);
    let (a, b) = (Node::start(&a), Node::start(&b));
    a.wait_for_links();
    // Some of them on the server's node.
    let mut callers: Vec<_> = (0..CALLERS)
        .map(|n| Caller::new(if n % 2 == 0 { &a } else { &b }, 100 + n, seed, CALLS_A_SECOND / CALLERS))
        .collect();
    let server =
        |modes| ClientProcess::start(ClientSpec { modes, ..ClientSpec::new(b.socket(), 200, seed, SIZES) });
    let mut servers = vec![server(&[])];
    let stop = AtomicBool::new(false);
    let begun = clock::now();
    thread::scope(|scope| {
        let _stop = StopOnDrop(&stop);
        for caller in &mut callers {
            scope.spawn(|| caller.keep_calling(&stop));
        }
        for _ in 0..50 {
            servers.last().expect("the first").wait_for_taken(500);
            let next = server(&["takeover"]);
            servers.last_mut().expect("the first").wait_for_drained();
            servers.push(next);
        }
        servers.last().expect("the last").wait_for_taken(500);
    });
    let seconds = wait::ms_since(begun) / 1e3;
    let longest = callers.iter().map(|caller| caller.check(&servers)).fold(0.0, f64::max);
    let calls: u32 = callers.iter().map(|caller| caller.calls).sum();
    report::line(format_args!(
        "hot deployment: {calls} calls, {:.0} a second of {CALLS_A_SECOND} offered; 50 takeovers in {seconds:.1} s; none failed, \
         none ran twice; the longest took {longest:.0} ms",
        f64::from(calls) / seconds
    ));
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Three nodes, two services with two instances each, and on each node one who sends to both and one who calls the first.
struct Cluster {
    nodes: Vec<Node>,
    senders: Vec<Party>,
    callers: Vec<Caller>,
    /// Of each service: all processes that it had.
    processes: [Vec<ClientProcess>; 2],
    seed: u64,
}

/// Service and node, and whether it has the higher priority.
const INSTANCES: [(usize, usize, bool); 4] = [(0, 0, true), (0, 1, false), (1, 1, true), (1, 2, false)];
const SERVICES: [u32; 2] = [200, 300];

impl Cluster {
    fn start(seed: u64) -> Self {
        let spec = |name| NodeSpec::new(name).chain("interval_ms = 200\ntimes = 150");
        let mut specs = [spec("a"), spec("b"), spec("c")];
        let [a, b, c] = &mut specs;
        join(a, b);
        join(b, c);
        join(a, c);
        let nodes: Vec<_> = specs.iter().map(Node::start).collect();
        nodes.iter().for_each(Node::wait_for_links);
        let sizes = || SIZES.0..=SIZES.1;
        let numbered = nodes.iter().zip(100..);
        let senders = numbered.map(|(node, id)| Party::join(id, node.client(id), seed, sizes())).collect();
        let numbered = nodes.iter().zip(110..);
        let callers = numbered.map(|(node, id)| Caller::new(node, id, seed, 100)).collect();
        let mut cluster = Self { nodes, senders, callers, processes: [Vec::new(), Vec::new()], seed };
        for instance in INSTANCES {
            cluster.start_instance(instance);
        }
        cluster
    }

    /// Starts an instance's process; returns its place among its service's.
    fn start_instance(&mut self, (service, node, is_high): (usize, usize, bool)) -> usize {
        let modes: &[&str] = if is_high { &["handled", "slow", "high"] } else { &["handled", "slow"] };
        let socket = self.nodes[node].socket();
        let spec = ClientSpec { modes, ..ClientSpec::new(socket, SERVICES[service], self.seed, SIZES) };
        self.processes[service].push(ClientProcess::start(spec));
        self.processes[service].len() - 1
    }

    /// Has `act` done under traffic, with a moment of it after each step.
    fn under_traffic(&mut self, act: impl FnOnce(&mut Self, &dyn Fn())) {
        let (senders, mut callers) = (std::mem::take(&mut self.senders), std::mem::take(&mut self.callers));
        let stop = AtomicBool::new(false);
        thread::scope(|scope| {
            let _stop = StopOnDrop(&stop);
            for sender in &senders {
                scope.spawn(|| keep_sending(sender, &SERVICES, 3, &stop));
            }
            for caller in &mut callers {
                scope.spawn(|| caller.keep_calling(&stop));
            }
            let a_moment = || {
                let acked = || senders.iter().map(|c| c.client().counters().acked).sum::<u64>();
                let before = acked();
                wait::until("traffic goes on", || acked() >= before + 200);
            };
            a_moment();
            act(self, &a_moment);
            a_moment();
            stop.store(true, Ordering::Relaxed);
        });
        (self.senders, self.callers) = (senders, callers);
    }

    /// Outcomes of each sender with each service.
    fn check(&self, test: &str) -> Vec<Outcomes> {
        let mut all = Vec::new();
        for sender in &self.senders {
            for processes in &self.processes {
                all.push(check(sender, processes));
                report::line(format_args!("{test}: {}", all[all.len() - 1]));
            }
        }
        all
    }

    /// How many calls failed, each `Unknown`.
    fn check_calls(&self, test: &str) -> usize {
        let unknown = self.callers.iter().map(|caller| caller.check_once(&self.processes[0])).sum();
        let calls: u32 = self.callers.iter().map(|caller| caller.calls).sum();
        report::line(format_args!("{test}: {calls} calls, {unknown} failed"));
        unknown
    }
}

#[test]
fn everything_is_drained_and_restarted_in_turn_and_no_message_and_no_call_fails() {
    let mut cluster = Cluster::start(report::seed("rolling drain", 20_260_910));
    cluster.under_traffic(|cluster, a_moment| {
        let mut current = [0, 1, 0, 1];
        for (i, instance) in INSTANCES.into_iter().enumerate() {
            let (service, node, _) = instance;
            cluster.nodes[node].drain(Some(SERVICES[service]));
            cluster.processes[service][current[i]].wait_for_drained();
            a_moment();
            current[i] = cluster.start_instance(instance);
            a_moment();
        }
        for node in 0..3 {
            cluster.nodes[node].drain(None);
            let here = || INSTANCES.into_iter().enumerate().filter(|(_, instance)| instance.1 == node);
            for (i, (service, ..)) in here() {
                cluster.processes[service][current[i]].wait_for_drained();
            }
            a_moment();
            cluster.nodes[node].terminate();
            cluster.nodes[node].start_again();
            for (i, instance) in here() {
                current[i] = cluster.start_instance(instance);
            }
            a_moment();
        }
    });
    for outcomes in cluster.check("rolling drain") {
        assert_eq!(outcomes.failures(), 0, "{outcomes}");
    }
    assert_eq!(cluster.check_calls("rolling drain"), 0, "calls that failed");
}

#[test]
fn everything_is_killed_and_restarted_in_turn_and_only_what_was_begun_is_unknown() {
    let mut cluster = Cluster::start(report::seed("rolling kill", 20_260_911));
    cluster.under_traffic(|cluster, a_moment| {
        let mut current = [0, 1, 0, 1];
        for (i, instance) in INSTANCES.into_iter().enumerate() {
            cluster.processes[instance.0][current[i]].kill();
            a_moment();
            current[i] = cluster.start_instance(instance);
            a_moment();
        }
        for node in 0..3 {
            cluster.nodes[node].kill();
            cluster.nodes[node].start_again();
            a_moment();
        }
    });
    let mut failures = 0;
    for outcomes in cluster.check("rolling kill") {
        failures += outcomes.failures();
        assert!(outcomes.failed.keys().all(|kind| kind.ends_with("/Unknown")), "{outcomes}");
        // What a process has taken and not acked when it dies: a batch of one, with acks on handled, for each death.
        assert!(outcomes.taken + outcomes.failures() >= outcomes.sent, "{outcomes}");
    }
    failures += cluster.check_calls("rolling kill");
    assert!(failures > 0, "whoever was killed had begun something");
}
