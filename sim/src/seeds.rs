//! Seeds, or whatever else has numbers, on all cores.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Threads, if nobody says how many.
pub(crate) fn threads_or(threads: Option<usize>) -> usize {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    threads.unwrap_or(cores).max(1)
}

/// Runs `each` for the numbers from 0 to below `count`, and gives what passed to the `seen` of its
/// thread; gives back one `seen` for each thread, or the first failure with its number. Nothing is
/// begun after a failure, so it is the lowest of those that failed together.
pub(crate) fn run<P, F: Send, S: Default + Send>(
    count: u64,
    threads: usize,
    each: impl Fn(u64) -> Result<P, F> + Sync,
    passed: impl Fn(&mut S, P) + Sync,
) -> Result<Vec<S>, (u64, F)> {
    let begun = AtomicU64::new(0);
    let is_over = AtomicBool::new(false);
    let all_seen = Mutex::new(Vec::new());
    let failed: Mutex<Option<(u64, F)>> = Mutex::new(None);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let mut seen = S::default();
                while !is_over.load(Ordering::Relaxed) {
                    let number = begun.fetch_add(1, Ordering::Relaxed);
                    if number >= count {
                        break;
                    }
                    match each(number) {
                        Ok(one) => passed(&mut seen, one),
                        Err(failure) => {
                            is_over.store(true, Ordering::Relaxed);
                            let mut failed = failed.lock().expect("no thread panics");
                            if failed.as_ref().is_none_or(|(first, _)| number < *first) {
                                *failed = Some((number, failure));
                            }
                        }
                    }
                }
                all_seen.lock().expect("no thread panics").push(seen);
            });
        }
    });
    match failed.into_inner().expect("no thread panics") {
        Some(failure) => Err(failure),
        None => Ok(all_seen.into_inner().expect("no thread panics")),
    }
}
