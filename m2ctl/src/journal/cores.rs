//! Work that falls into pieces, on as many threads as wanted.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use crate::output::Failure;

/// One for each core.
pub(crate) fn threads() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

/// Runs `job` for each index below `count`, on so many threads, each with a state of its own. Gives the
/// states, and the results by index.
///
/// # Errors
///
/// As the first job that fails says; none is begun after it.
pub(crate) fn on_all_cores<S: Send, T: Send>(
    threads: usize,
    count: usize,
    state: impl Fn() -> S + Sync,
    job: impl Fn(&mut S, usize) -> Result<T, Failure> + Sync,
) -> Result<(Vec<S>, Vec<T>), Failure> {
    let next = AtomicUsize::new(0);
    let run = || {
        let (mut state, mut done) = (state(), Vec::new());
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            if index >= count {
                return Ok((state, done));
            }
            match job(&mut state, index) {
                Ok(result) => done.push((index, result)),
                Err(failure) => {
                    next.store(count, Ordering::Relaxed);
                    return Err(failure);
                }
            }
        }
    };
    let (mut states, mut all) = (Vec::new(), Vec::with_capacity(count));
    thread::scope(|scope| {
        let threads: Vec<_> = (0..threads.min(count)).map(|_| scope.spawn(run)).collect();
        for thread in threads {
            let (state, done) = thread.join().expect("a reader does not panic")?;
            states.push(state);
            all.extend(done);
        }
        Ok::<_, Failure>(())
    })?;
    all.sort_by_key(|(index, _)| *index);
    Ok((states, all.into_iter().map(|(_, result)| result).collect()))
}
