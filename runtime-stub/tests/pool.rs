//! Every tile runs once, in the order of stages, whatever the threads do.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use slmc_runtime_stub::fault::Code;
use slmc_runtime_stub::pool::{MAX_THREADS, Pool, Work};

/// Counts how often each tile ran, and notices a tile that runs before the stage before it was complete.
struct Counting {
    stages: Vec<Vec<AtomicU32>>,
    asked: AtomicU32,
    early: AtomicU32,
    delay: fn(u32, u32),
}

impl Counting {
    fn new(sizes: &[u32], delay: fn(u32, u32)) -> Self {
        let stages = sizes.iter().map(|&n| (0..n).map(|_| AtomicU32::new(0)).collect()).collect();
        Self { stages, asked: AtomicU32::new(0), early: AtomicU32::new(0), delay }
    }

    fn complete(&self, stage: usize) -> bool {
        self.stages[stage].iter().all(|tile| tile.load(Ordering::Relaxed) == 1)
    }

    #[track_caller]
    fn assert_each_once(&self) {
        assert_eq!(self.early.load(Ordering::Relaxed), 0, "a tile ran before its stage");
        assert!((0..self.stages.len()).all(|stage| self.complete(stage)), "a tile ran never or twice");
        assert_eq!(self.asked.load(Ordering::Relaxed) as usize, self.stages.len() + 1);
    }
}

impl Work for Counting {
    fn tiles(&self, stage: u32) -> Option<u32> {
        if self.asked.fetch_add(1, Ordering::Relaxed) != stage {
            self.early.fetch_add(1, Ordering::Relaxed);
        }
        self.stages.get(stage as usize).map(|tiles| tiles.len() as u32)
    }

    fn run(&self, stage: u32, tile: u32) {
        if stage > 0 && !self.complete(stage as usize - 1) {
            self.early.fetch_add(1, Ordering::Relaxed);
        }
        (self.delay)(stage, tile);
        self.stages[stage as usize][tile as usize].fetch_add(1, Ordering::Relaxed);
    }
}

fn no_delay(_: u32, _: u32) {}

#[test]
fn each_tile_runs_once_and_stages_keep_their_order() {
    let sizes = [1, 7, 0, 64, 1, 1, 2, 0, 33, 3, 5, 128, 1, 0];
    for threads in [1, 2, 3, 4, 9, MAX_THREADS as u32] {
        let pool = Pool::new(threads).expect("threads");
        assert_eq!(pool.threads(), threads);
        for _ in 0..20 {
            let work = Counting::new(&sizes, no_delay);
            pool.run(&work);
            work.assert_each_once();
        }
    }
}

#[test]
fn a_job_may_be_empty_or_have_one_tile() {
    let pool = Pool::new(3).expect("threads");
    for sizes in [&[][..], &[0], &[0, 0, 0], &[1], &[1, 1, 1]] {
        let work = Counting::new(sizes, no_delay);
        pool.run(&work);
        work.assert_each_once();
    }
}

#[test]
fn impossible_numbers_of_threads_are_refused() {
    for threads in [0, MAX_THREADS as u32 + 1, u32::MAX] {
        let fault = Pool::new(threads).err().expect("must be refused");
        assert_eq!(fault.code, Code::Argument);
    }
}

#[test]
fn tiles_of_one_range_are_taken_over_by_idle_threads() {
    struct Uneven {
        done_by: Mutex<BTreeSet<String>>,
    }
    impl Work for Uneven {
        fn tiles(&self, stage: u32) -> Option<u32> {
            (stage == 0).then_some(240)
        }
        fn run(&self, _: u32, tile: u32) {
            // All cost is in the first of four ranges.
            if tile < 60 {
                std::thread::sleep(Duration::from_millis(5));
                let name = format!("{:?}", std::thread::current().id());
                self.done_by.lock().expect("no panic").insert(name);
            }
        }
    }
    let work = Uneven { done_by: Mutex::new(BTreeSet::new()) };
    Pool::new(4).expect("threads").run(&work);
    let threads = work.done_by.into_inner().expect("no panic").len();
    assert!(threads > 1, "nothing was taken over");
}

#[test]
fn an_absent_thread_holds_up_its_tile_only() {
    // The thread that gets tile 0 of a stage sleeps in it; the others must have done all the rest by then.
    struct Absent {
        others: AtomicU32,
        seen: AtomicU32,
    }
    impl Work for Absent {
        fn tiles(&self, stage: u32) -> Option<u32> {
            (stage == 0).then_some(100)
        }
        fn run(&self, _: u32, tile: u32) {
            if tile == 0 {
                let start = std::time::Instant::now();
                while self.others.load(Ordering::Relaxed) < 99 && start.elapsed() < Duration::from_secs(20) {
                    std::thread::sleep(Duration::from_millis(1));
                }
                self.seen.store(self.others.load(Ordering::Relaxed), Ordering::Relaxed);
            } else {
                self.others.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
    for threads in [2, 5] {
        let work = Absent { others: AtomicU32::new(0), seen: AtomicU32::new(0) };
        Pool::new(threads).expect("threads").run(&work);
        assert_eq!(work.seen.into_inner(), 99);
    }
}

#[test]
fn many_jobs_on_more_threads_than_cores_lose_nothing() {
    let cores = std::thread::available_parallelism().map_or(2, |n| n.get()) as u32;
    let pool = Pool::new((cores * 6).clamp(8, MAX_THREADS as u32)).expect("threads");
    let burn = std::sync::atomic::AtomicBool::new(true);
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                while burn.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            });
        }
        let mut state = 1u32;
        for _ in 0..150 {
            let sizes: Vec<u32> = (0..12)
                .map(|_| {
                    state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    [0, 1, 2, 3, 8, 40][(state >> 16) as usize % 6]
                })
                .collect();
            let work = Counting::new(&sizes, |stage, tile| {
                if (stage + tile) % 13 == 0 {
                    std::thread::yield_now();
                }
            });
            pool.run(&work);
            work.assert_each_once();
        }
        burn.store(false, Ordering::Relaxed);
    });
}

#[test]
fn jobs_of_several_callers_take_turns() {
    let pool = Pool::new(3).expect("threads");
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..50 {
                    let work = Counting::new(&[5, 1, 9], no_delay);
                    pool.run(&work);
                    work.assert_each_once();
                }
            });
        }
    });
}

#[test]
fn sleeping_threads_wake_up_for_the_next_job_and_for_the_end() {
    for _ in 0..10 {
        let pool = Pool::new(4).expect("threads");
        for _ in 0..3 {
            // Longer than the threads watch before they sleep.
            std::thread::sleep(Duration::from_millis(2));
            let work = Counting::new(&[16, 16], no_delay);
            pool.run(&work);
            work.assert_each_once();
        }
    }
}
