//! A thread for what takes long and nobody waits for: segments to prepare, snapshots to write, files
//! to retire. The journal thread goes on with commits meanwhile.

use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use crossbeam_channel::{Receiver, Sender, TryRecvError, bounded};
use m2_journal::{Files, Op, OpId, perform};

use crate::limits::FILE_OPS_MAX;
use crate::shard::wake::wake;

/// The journal thread's end.
#[derive(Debug)]
pub(super) struct FilesThread {
    orders: Sender<(OpId, Op)>,
    pub(super) done: Receiver<(OpId, io::Result<()>)>,
    thread: JoinHandle<()>,
}

impl FilesThread {
    /// Starts the thread for a journal's folder. `signal` is given when something is done.
    ///
    /// # Errors
    ///
    /// When the system has no thread left.
    pub(super) fn start(folder: PathBuf, signal: Arc<OwnedFd>) -> io::Result<Self> {
        let (orders, to_do) = bounded::<(OpId, Op)>(FILE_OPS_MAX);
        let (tell, done) = bounded(FILE_OPS_MAX);
        let thread = thread::Builder::new().name("journal-files".into()).spawn(move || {
            let mut files = Files::new(folder);
            loop {
                match to_do.try_recv() {
                    Ok((id, op)) => {
                        let result = perform(&mut files, &op);
                        tell.send((id, result)).expect("who ordered it waits for it");
                        wake(&signal);
                    }
                    // Not in the channel: who waits there takes a lock that the other end wants.
                    Err(TryRecvError::Empty) => thread::park(),
                    Err(TryRecvError::Disconnected) => return,
                }
            }
        })?;
        Ok(Self { orders, done, thread })
    }

    /// Orders something. Its end comes out of `done`.
    pub(super) fn order(&self, id: OpId, op: Op) {
        self.orders.send((id, op)).expect("the thread lives as long as this");
        self.thread.thread().unpark();
    }

    /// Ends the thread when all that was ordered is done.
    pub(super) fn end(self) {
        drop(self.orders);
        self.thread.thread().unpark();
        self.thread.join().expect("a panic ends the process before this");
    }
}
