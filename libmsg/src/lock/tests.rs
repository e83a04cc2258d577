use std::{
    panic::catch_unwind,
    sync::{
        atomic::{AtomicU32, AtomicU64},
        mpsc,
    },
    thread,
};

use super::*;

impl<T> Lock<T> {
    fn is_biased(&self) -> bool {
        self.biased.load(Ordering::Relaxed)
    }

    fn take(&self, times: u32) {
        (0..times).for_each(|_| drop(self.lock()));
    }

    fn unbiased(value: T) -> Self {
        let lock = Self::with_run(value, 1);
        sync::lock(&lock.queue).can_bias = false;
        lock
    }
}

/// How long a thread that is to wait is given to go on wrongly.
const MOMENT: Duration = Duration::from_millis(20);

#[test]
fn who_takes_it_often_enough_in_a_row_is_favoured_and_nobody_else_ever_is() {
    if !barrier::is_available() {
        return eprintln!("SKIPPED: the kernel has no membarrier(2) for this process");
    }
    let lock = Lock::with_run((), 4);
    lock.take(3);
    assert!(!lock.is_biased() && !lock.is_favoured());
    thread::scope(|scope| scope.spawn(|| lock.take(1)).join().unwrap());
    lock.take(3);
    assert!(!lock.is_biased(), "another one came in between");
    lock.take(1);
    assert!(lock.is_biased() && lock.is_favoured());
    thread::scope(|scope| {
        scope.spawn(|| {
            lock.take(1);
            assert!(!lock.is_biased(), "taken away");
            lock.take(100);
            assert!(!lock.is_biased() && !lock.is_favoured());
        });
    });
    assert!(lock.is_favoured());
    lock.take(3);
    assert!(!lock.is_biased());
    lock.take(1);
    assert!(lock.is_biased(), "it has been alone again");
}

#[test]
fn without_the_barrier_nobody_is_favoured() {
    let lock = Lock::unbiased(0);
    (0..10).for_each(|_| *lock.lock() += 1);
    assert!(!lock.is_biased() && !lock.is_favoured());
    assert_eq!(*lock.lock(), 10);
}

#[test]
fn the_favoured_thread_is_waited_for() {
    if !barrier::is_available() {
        return eprintln!("SKIPPED: the kernel has no membarrier(2) for this process");
    }
    let lock = Lock::with_run(0, 1);
    let mut mine = lock.lock();
    assert!(mine.queue.is_none());
    thread::scope(|scope| {
        let (lock, (tell, told)) = (&lock, mpsc::channel());
        scope.spawn(move || tell.send(*lock.lock()));
        assert!(told.recv_timeout(MOMENT).is_err());
        *mine = 1;
        drop(mine);
        assert_eq!(told.recv(), Ok(1));
    });
}

#[test]
fn the_favoured_thread_waits_for_others() {
    let lock = Lock::with_run(0, 1);
    lock.take(2);
    let entered = AtomicU32::new(0);
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut theirs = lock.lock();
            entered.store(1, Ordering::Release);
            thread::park_timeout(MOMENT);
            *theirs = 1;
        });
        while entered.load(Ordering::Acquire) == 0 {
            thread::yield_now();
        }
        assert_eq!(*lock.lock(), 1);
    });
}

/// The bias may be taken away between the first look at it and the second.
#[test]
fn the_favoured_thread_looks_again_once_it_is_seen() {
    if !barrier::is_available() {
        return eprintln!("SKIPPED: the kernel has no membarrier(2) for this process");
    }
    let lock = Lock::with_run((), 1);
    lock.take(2);
    assert!(lock.is_biased());
    thread::scope(|scope| scope.spawn(|| lock.take(1)).join().unwrap());
    assert!(!lock.try_hold());
    assert!(!lock.held.load(Ordering::Relaxed), "who takes it away would wait for ever");
    let theirs = sync::lock(&lock.gate);
    thread::scope(|scope| {
        let (lock, (tell, told)) = (&lock, mpsc::channel());
        scope.spawn(move || {
            lock.wake();
            tell.send(())
        });
        assert!(told.recv_timeout(MOMENT).is_err(), "who has the gate may be about to sleep");
        drop(theirs);
        assert_eq!(told.recv(), Ok(()));
    });
}

/// Two words that are the same whenever nobody has the lock, and how many have it.
#[derive(Default)]
struct Watched {
    words: [u64; 2],
    inside: AtomicU64,
}

impl Watched {
    fn visit(lock: &Lock<Self>) {
        let mut guard = lock.lock();
        // Relaxed: a fence here would stand in for the lock's own.
        let inside = guard.inside.load(Ordering::Relaxed);
        guard.inside.store(inside + 1, Ordering::Relaxed);
        let [first, second] = guard.words;
        assert_eq!((inside, first), (0, second));
        guard.words[0] = first + 1;
        std::hint::spin_loop();
        guard.words[1] = second + 1;
        let inside = guard.inside.load(Ordering::Relaxed);
        assert_eq!(inside, 1);
        guard.inside.store(0, Ordering::Relaxed);
    }
}

/// With the barrier taken out, or the look behind `held`, or the wait for it, this fails.
#[test]
fn no_two_threads_have_it_at_once() {
    const VISITS: u64 = 100_000;
    for run in [1, 2, 7] {
        let lock = Lock::with_run(Watched::default(), run);
        Watched::visit(&lock);
        thread::scope(|scope| {
            for pause in [1, 40] {
                let lock = &lock;
                scope.spawn(move || {
                    for i in 0..VISITS {
                        Watched::visit(lock);
                        (0..i % pause).for_each(|_| std::hint::spin_loop());
                    }
                });
            }
            (0..VISITS).for_each(|_| Watched::visit(&lock));
        });
        let watched = lock.lock();
        assert_eq!(watched.words, [3 * VISITS + 1; 2]);
    }
}

#[test]
fn a_panic_gives_it_back() {
    let lock = Lock::with_run(0, 1);
    for round in 1..4 {
        let paniced = catch_unwind(|| {
            let mut guard = lock.lock();
            *guard = round;
            panic!("while it is held");
        });
        assert!(paniced.is_err());
        thread::scope(|scope| assert_eq!(scope.spawn(|| *lock.lock()).join().unwrap(), round));
    }
}

#[test]
fn who_waits_for_a_change_hears_of_it() {
    for run in [1, u32::MAX] {
        let lock = Lock::with_run(0, run);
        let changed = Condvar::new();
        lock.take(2);
        thread::scope(|scope| {
            scope.spawn(|| {
                for turn in 0..1000 {
                    let mut guard = lock.lock();
                    while *guard != 2 * turn + 1 {
                        guard = lock.wait(&changed, guard, None);
                    }
                    *guard += 1;
                    changed.notify_all();
                }
            });
            for turn in 0..1000 {
                let mut guard = lock.lock();
                while *guard != 2 * turn {
                    guard = lock.wait(&changed, guard, None);
                }
                *guard += 1;
                changed.notify_all();
            }
        });
        assert_eq!(*lock.lock(), 2000);
    }
}

#[test]
fn a_wait_ends_with_its_time() {
    let lock = Lock::with_run(7, 1);
    for _ in 0..3 {
        assert_eq!(*lock.wait(&Condvar::new(), lock.lock(), Some(MOMENT)), 7);
    }
}

/// A mutex would wait for ever here: there is no second guard in any case.
#[test]
fn the_favoured_thread_does_not_get_it_twice() {
    if !barrier::is_available() {
        return eprintln!("SKIPPED: the kernel has no membarrier(2) for this process");
    }
    let lock = Lock::with_run(0, 1);
    lock.take(2);
    let mut outer = lock.lock();
    assert!(catch_unwind(|| *lock.lock() = 7).is_err());
    thread::scope(|scope| {
        let (lock, (tell, told)) = (&lock, mpsc::channel());
        scope.spawn(move || tell.send(*lock.lock()));
        assert!(told.recv_timeout(MOMENT).is_err(), "it is held");
        *outer = 1;
        drop(outer);
        assert_eq!(told.recv(), Ok(1));
    });
}

#[test]
fn a_panic_does_not_keep_the_favoured_thread_from_waiting() {
    if !barrier::is_available() {
        return eprintln!("SKIPPED: the kernel has no membarrier(2) for this process");
    }
    let lock = Lock::with_run(0, 2);
    let paniced = catch_unwind(|| {
        let _guard = lock.lock();
        panic!("while it is held by the queue");
    });
    assert!(paniced.is_err() && lock.queue.is_poisoned());
    for _ in 0..3 {
        lock.take(2);
        assert!(lock.is_biased());
        let guard = lock.lock();
        let waited = lock.wait(&Condvar::new(), guard, Some(MOMENT));
        assert!(waited.queue.is_some(), "it gave it back, and came again behind others");
    }
}
