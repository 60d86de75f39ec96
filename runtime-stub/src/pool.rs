//! Persistent threads that share the tiles of a job, stage after stage, without ever waiting for a thread that holds
//! no tile.
//!
//! A job is a sequence of stages (dispatches), each a number of tiles. Every thread owns a contiguous range of the
//! tiles, so that weights stream in order, and takes single tiles from other ranges when its own is used up. There is
//! no barrier at which all threads must arrive: a stage is over when its last tile is done, and whichever thread did
//! it starts the next stage. A thread that the system keeps off its core thus delays the others by the tile it is in,
//! if any, and never by its absence.
//!
//! How a range is claimed safely: `Slot::word` holds the number of the publication in its upper 40 bits and the tiles
//! not yet claimed in its lower 24. A claim is one compare-and-swap that takes 1 off. A word never has the same value
//! twice (publications count up, remainders down), so a swap that succeeds claims a tile of the stage that is
//! published at that moment, however late the thread woke up. And from the claim until the thread adds the tile to
//! `done`, that stage cannot end; so `stage`, `total` and `job`, read *after* a claim, belong to it: they were stored
//! before the word (released, acquired by the swap) and change only after `done` was complete (released by the add,
//! acquired by the thread that completes it). Nothing read before a claim is trusted.

#![allow(unsafe_code, reason = "threads share a job on the stack of its caller")]

use core::ffi::c_void;
use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicU64, Ordering, fence};

use crate::abi::MAX_TILES;
use crate::fault::{Code, Fault, Outcome};
use crate::platform::memory::Owned;
use crate::platform::unix::{self, Monitor, Thread};

/// Threads of one pool, at most.
pub const MAX_THREADS: usize = 64;

/// How long an idle thread watches for the next stage before it sleeps, nanoseconds.
pub const SPIN_NS: u64 = 50_000;

const REMAINING_BITS: u32 = 24;
const REMAINING_MASK: u64 = (1 << REMAINING_BITS) - 1;

/// Something whose stages are split into tiles.
pub trait Work: Sync {
    /// Tiles of stage `stage` (at most [`MAX_TILES`]), or `None` after the last stage. Called once for each stage, in
    /// order, after every tile of the stages before is done.
    fn tiles(&self, stage: u32) -> Option<u32>;

    /// Does tile `tile` of stage `stage`; called once for each, on any thread.
    fn run(&self, stage: u32, tile: u32);
}

#[repr(align(128))]
struct Slot {
    word: AtomicU64,
}

/// Stands on the caller's stack for the time of [`Pool::run`].
struct Job<'a> {
    work: &'a dyn Work,
}

struct Shared {
    slots: [Slot; MAX_THREADS],
    threads: usize,
    job: AtomicPtr<Job<'static>>,
    stage: AtomicU32,
    total: AtomicU32,
    done: AtomicU32,
    /// Changes after every publication, at the end of a job and at the end of the pool: what idle threads watch.
    epoch: AtomicU64,
    /// Number of publications; touched only by the thread that publishes.
    publications: AtomicU64,
    finished: AtomicBool,
    closing: AtomicBool,
    /// Some thread sleeps, or is about to.
    sleeping: AtomicBool,
    monitor: Monitor,
    /// Taken for the time of a job, so that sessions on several threads take turns.
    turn: Monitor,
}

/// The threads of a model.
pub struct Pool {
    shared: Owned<Shared>,
    workers: [Option<Worker>; MAX_THREADS],
}

struct Worker {
    thread: Thread,
    _seat: Owned<Seat>,
}

/// What a worker is told at its start.
struct Seat {
    shared: *const Shared,
    index: usize,
}

// SAFETY: the pointer leads to state that is itself shared by design and outlives every seat.
unsafe impl Send for Seat {}
// SAFETY: as above.
unsafe impl Sync for Seat {}

impl Pool {
    /// A pool of `threads` threads (1 ..= [`MAX_THREADS`]), the caller of [`Pool::run`] being one of them.
    ///
    /// # Errors
    /// [`Code::Argument`], [`Code::Memory`], [`Code::Threads`].
    pub fn new(threads: u32) -> Outcome<Self> {
        let count = threads as usize;
        if count == 0 || count > MAX_THREADS {
            return Err(Fault::new(Code::Argument, "threads", "a model runs on 1 to 64 threads").numbers(MAX_THREADS as u64, u64::from(threads)));
        }
        let memory = |errno| Fault::system(Code::Memory, "thread pool", "no memory", errno);
        let shared = Owned::new(Shared {
            slots: [const { Slot { word: AtomicU64::new(0) } }; MAX_THREADS],
            threads: count,
            job: AtomicPtr::new(core::ptr::null_mut()),
            stage: AtomicU32::new(0),
            total: AtomicU32::new(0),
            done: AtomicU32::new(0),
            epoch: AtomicU64::new(0),
            publications: AtomicU64::new(0),
            finished: AtomicBool::new(true),
            closing: AtomicBool::new(false),
            sleeping: AtomicBool::new(false),
            monitor: Monitor::new(),
            turn: Monitor::new(),
        })
        .map_err(memory)?;
        // SAFETY: first use, and `Owned` memory does not move.
        unsafe {
            shared.monitor.init();
            shared.turn.init();
        }
        let mut pool = Self { shared, workers: [const { None }; MAX_THREADS] };
        for index in 1..count {
            let seat = Owned::new(Seat { shared: &raw const *pool.shared, index }).map_err(memory)?;
            // SAFETY: seat and shared state outlive the thread, which `drop` joins first.
            let thread = unsafe { Thread::start(serve, (&raw const *seat).cast_mut().cast()) }
                .map_err(|errno| Fault::system(Code::Threads, "thread pool", "no more threads", errno))?;
            pool.workers[index] = Some(Worker { thread, _seat: seat });
        }
        Ok(pool)
    }

    /// Threads, the caller's included.
    pub fn threads(&self) -> u32 {
        self.shared.threads as u32
    }

    /// Runs all stages of `work` and returns when the last tile is done. Calls from several threads take turns.
    pub fn run(&self, work: &dyn Work) {
        if self.shared.threads == 1 {
            let mut stage = 0;
            while let Some(tiles) = work.tiles(stage) {
                for tile in 0..tiles {
                    work.run(stage, tile);
                }
                stage += 1;
            }
            return;
        }
        self.shared.turn.lock();
        self.shared.run(work);
        self.shared.turn.unlock();
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.closing.store(true, Ordering::SeqCst);
        self.shared.signal();
        for worker in &mut self.workers {
            if let Some(worker) = worker.take() {
                worker.thread.join();
            }
        }
        // SAFETY: every worker has ended, and `&mut self` excludes callers.
        unsafe {
            self.shared.monitor.destroy();
            self.shared.turn.destroy();
        }
    }
}

extern "C" fn serve(seat: *mut c_void) -> *mut c_void {
    // SAFETY: `Pool::new` passes a seat that outlives this thread, and so does the state it points to.
    let (shared, index) = unsafe {
        let seat = &*seat.cast::<Seat>();
        (&*seat.shared, seat.index)
    };
    loop {
        let seen = shared.epoch.load(Ordering::Acquire);
        if shared.closing.load(Ordering::Acquire) {
            return core::ptr::null_mut();
        }
        if !shared.take_part(index) {
            shared.await_change(seen);
        }
    }
}

impl Shared {
    fn run(&self, work: &dyn Work) {
        let mut job = Job { work };
        // The lifetime is erased here and kept by this function: it returns only when the job is finished, and nobody
        // follows the pointer without a claimed tile or the right to publish, both of which exist only until then.
        let job = (&raw mut job).cast::<Job<'static>>();
        self.job.store(job, Ordering::Relaxed);
        self.finished.store(false, Ordering::Relaxed);
        self.publish_from(job, 0);
        loop {
            let seen = self.epoch.load(Ordering::Acquire);
            if self.finished.load(Ordering::Acquire) {
                break;
            }
            if !self.take_part(0) {
                self.await_change(seen);
            }
        }
    }

    /// Does tiles of the published stage until none is left to claim; false if there was none for this thread.
    fn take_part(&self, me: usize) -> bool {
        let mut finished = 0;
        for turn in 0..self.threads {
            let victim = (me + turn) % self.threads;
            while let Some(remaining) = self.claim(victim) {
                let total = self.total.load(Ordering::Relaxed);
                let stage = self.stage.load(Ordering::Relaxed);
                let job = self.job.load(Ordering::Relaxed);
                // SAFETY: this thread holds a tile of the job, so `run` has not returned and its `Job` is alive.
                let work = unsafe { (*job).work };
                work.run(stage, range_end(total, self.threads, victim) - remaining);
                finished += 1;
            }
        }
        if finished > 0 {
            self.settle(finished);
        }
        finished > 0
    }

    /// Claims a tile of a range; gives the tiles that were unclaimed before, this one included.
    fn claim(&self, slot: usize) -> Option<u32> {
        let word = &self.slots[slot].word;
        let mut value = word.load(Ordering::Relaxed);
        while value & REMAINING_MASK != 0 {
            match word.compare_exchange_weak(value, value - 1, Ordering::Acquire, Ordering::Relaxed) {
                Ok(_) => return Some((value & REMAINING_MASK) as u32),
                Err(now) => value = now,
            }
        }
        None
    }

    /// Accounts for `finished` tiles this thread claimed and did; starts the next stage if they were the last.
    fn settle(&self, finished: u32) {
        // Read while the unaccounted tiles still hold the stage in place.
        let total = self.total.load(Ordering::Relaxed);
        let stage = self.stage.load(Ordering::Relaxed);
        let job = self.job.load(Ordering::Relaxed);
        if self.done.fetch_add(finished, Ordering::AcqRel) + finished == total {
            self.publish_from(job, stage + 1);
        }
    }

    /// Publishes the next stage that is worth sharing; does single tiles on the spot; ends the job after the last.
    ///
    /// Only the thread that began the job or completed a stage gets here, so it alone publishes. The job comes as a
    /// pointer because it may be gone as soon as `finished` is set.
    fn publish_from(&self, job: *const Job<'static>, first: u32) {
        let mut stage = first;
        // SAFETY: the job ends by this thread's hand only, below.
        while let Some(tiles) = unsafe { (*job).work.tiles(stage) } {
            match tiles {
                0 => {}
                // SAFETY: as above.
                1 => unsafe { (*job).work.run(stage, 0) },
                _ => return self.publish(stage, tiles.min(MAX_TILES)),
            }
            stage += 1;
        }
        self.finished.store(true, Ordering::Release);
        self.signal();
    }

    fn publish(&self, stage: u32, total: u32) {
        let publication = self.publications.load(Ordering::Relaxed) + 1;
        self.publications.store(publication, Ordering::Relaxed);
        self.stage.store(stage, Ordering::Relaxed);
        self.total.store(total, Ordering::Relaxed);
        self.done.store(0, Ordering::Relaxed);
        for slot in 0..self.threads {
            let start = if slot == 0 { 0 } else { range_end(total, self.threads, slot - 1) };
            let count = range_end(total, self.threads, slot) - start;
            let word = publication << REMAINING_BITS | u64::from(count);
            self.slots[slot].word.store(word, Ordering::Release);
        }
        self.signal();
    }

    /// Tells watching and sleeping threads that something changed.
    fn signal(&self) {
        self.epoch.fetch_add(1, Ordering::SeqCst);
        // Either this load sees the sleeper's mark, or the sleeper, which marks first, sees the new epoch.
        fence(Ordering::SeqCst);
        if self.sleeping.load(Ordering::SeqCst) {
            self.monitor.lock();
            self.sleeping.store(false, Ordering::SeqCst);
            self.monitor.wake_all();
            self.monitor.unlock();
        }
    }

    /// Returns when the epoch is no longer `seen`: watches briefly, then sleeps.
    fn await_change(&self, seen: u64) {
        let start = unix::clock_ns();
        while unix::clock_ns().wrapping_sub(start) < SPIN_NS {
            for _ in 0..16 {
                if self.epoch.load(Ordering::Acquire) != seen {
                    return;
                }
                core::hint::spin_loop();
            }
        }
        self.monitor.lock();
        loop {
            self.sleeping.store(true, Ordering::SeqCst);
            fence(Ordering::SeqCst);
            if self.epoch.load(Ordering::SeqCst) != seen {
                break;
            }
            self.monitor.wait();
        }
        self.monitor.unlock();
    }
}

/// End of range `slot` when `total` tiles are split evenly and in order over `threads`.
fn range_end(total: u32, threads: usize, slot: usize) -> u32 {
    (u64::from(total) * (slot as u64 + 1) / threads as u64) as u32
}
