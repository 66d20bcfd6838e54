//! Latencies second by second, in HdrHistogram's interval log (version 2): each line holds a whole
//! histogram, tagged `scheduled` or `service`, in nanoseconds.
//!
//! ```text
//!  the thread that sends                     a thread of its own
//!  second(..) --> [ filling ] --try_send-->  compresses, writes, gives the buffer back
//!                      ^------------------------------'
//! ```
//!
//! Invariant: the thread that sends neither waits for the file nor allocates. A second that cannot
//! be handed over is one with the next: every latency is in exactly one line.

use std::fs::File;
use std::io::{self, LineWriter, Write};
use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, TrySendError, sync_channel};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, SystemTime};

use hdrhistogram::Histogram;
use hdrhistogram::serialization::V2DeflateSerializer;
use hdrhistogram::serialization::interval_log::{
    IntervalLogWriter, IntervalLogWriterBuilder, IntervalLogWriterError, Tag,
};

use crate::tally::Second;

/// Seconds that wait for the file.
const WAITING_MAX: usize = 4;

/// The largest latency of a line is written in milliseconds, as other tools do.
const NS_PER_MS: f64 = 1e6;

/// The first line.
const TITLE: &str = "[m2-load: latencies in nanoseconds; 'scheduled' from the time that a packet was \
                     due, 'service' from that of sending]";

/// A log that is open.
#[derive(Debug)]
pub struct IntervalLog {
    /// What was not handed over yet; `None` from then until the next second.
    filling: Option<Second>,
    full: SyncSender<Second>,
    empty: Receiver<Second>,
    writer: JoinHandle<Result<(), String>>,
}

impl IntervalLog {
    /// Creates the file, and the thread that writes it.
    ///
    /// # Errors
    ///
    /// A sentence that names the file, if it cannot be created.
    pub fn create(path: &Path) -> Result<Self, String> {
        let path = path.to_owned();
        let file = File::create(&path).map_err(|error| told(&path, &error))?;
        let (full, filled) = sync_channel(WAITING_MAX);
        // With those that wait, one is with the writer, and one is being filled.
        let (give_back, empty) = sync_channel(WAITING_MAX + 2);
        for _ in 0..WAITING_MAX + 2 {
            let _ = give_back.try_send(Second::new(0));
        }
        let write =
            move || write_all(file, &filled, &give_back).map_err(|error| told(&path, &error));
        let writer = Builder::new()
            .name("interval log".to_owned())
            .spawn(write)
            .map_err(|error| format!("--interval-log: no thread to write it: {error}"))?;
        Ok(Self { filling: None, full, empty, writer })
    }

    /// A second is over, or the run.
    pub fn second(&mut self, second: &Second) {
        let mut filling = match self.filling.take() {
            Some(mut filling) => {
                filling.end_ns = second.end_ns;
                filling
            }
            None => match self.empty.try_recv() {
                Ok(mut filling) => {
                    filling.latency.reset();
                    filling.service.reset();
                    (filling.begin_ns, filling.end_ns) = (second.begin_ns, second.end_ns);
                    filling
                }
                // The writer has ended, and says why at the end.
                Err(TryRecvError::Empty | TryRecvError::Disconnected) => return,
            },
        };
        filling.latency.add(&second.latency).expect("the bounds are the same");
        filling.service.add(&second.service).expect("the bounds are the same");
        if let Err(TrySendError::Full(filling) | TrySendError::Disconnected(filling)) =
            self.full.try_send(filling)
        {
            self.filling = Some(filling);
        }
    }

    /// The run is over: writes what is left, and waits for it.
    ///
    /// # Errors
    ///
    /// A sentence that names the file, if it could not be written.
    pub fn finish(self) -> Result<(), String> {
        let Self { filling, full, writer, .. } = self;
        if let Some(filling) = filling {
            // Nobody sends any more, so that it may wait.
            let _ = full.send(filling);
        }
        drop(full);
        writer.join().unwrap_or_else(|_| Err("--interval-log: its thread ended early".to_owned()))
    }
}

fn told(path: &Path, error: &io::Error) -> String {
    format!("--interval-log {}: {error}; give a path that can be written", path.display())
}

fn write_all(
    file: File,
    filled: &Receiver<Second>,
    give_back: &SyncSender<Second>,
) -> io::Result<()> {
    // The first second tells when the run began.
    let Ok(first) = filled.recv() else { return Ok(()) };
    let began = SystemTime::now() - Duration::from_nanos(first.end_ns);
    // Each line leaves whole, so that the log can be read while it grows.
    let mut out = LineWriter::new(file);
    let mut serializer = V2DeflateSerializer::new();
    let mut header = IntervalLogWriterBuilder::new();
    let log = header
        .add_comment(TITLE)
        .add_comment("[Histogram log format version 1.3]")
        .with_start_time(began)
        .with_base_time(began)
        .with_max_value_divisor(NS_PER_MS);
    let mut log = log.begin_log_with(&mut out, &mut serializer)?;
    let mut next = Some(first);
    while let Some(second) = next {
        put(&mut log, &second, "scheduled", &second.latency)?;
        put(&mut log, &second, "service", &second.service)?;
        let _ = give_back.try_send(second);
        next = filled.recv().ok();
    }
    Ok(())
}

fn put<W: Write>(
    log: &mut IntervalLogWriter<'_, '_, W, V2DeflateSerializer>,
    second: &Second,
    tag: &str,
    histogram: &Histogram<u64>,
) -> io::Result<()> {
    let begin = Duration::from_nanos(second.begin_ns);
    let length = Duration::from_nanos(second.end_ns.saturating_sub(second.begin_ns));
    log.write_histogram(histogram, begin, length, Tag::new(tag)).map_err(|error| match error {
        IntervalLogWriterError::IoError(error) => error,
        IntervalLogWriterError::SerializeError(error) => io::Error::other(error),
    })
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::path::PathBuf;

    use hdrhistogram::serialization::Deserializer;
    use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};

    use super::*;

    fn second(begin_s: u64, end_s: u64, latencies: &[u64]) -> Second {
        let mut second = Second::new(begin_s * 1_000_000_000);
        second.end_ns = end_s * 1_000_000_000;
        for &ns in latencies {
            second.latency.record(ns).unwrap();
            second.service.record(ns / 2).unwrap();
        }
        second
    }

    fn path(name: &str) -> PathBuf {
        std::env::temp_dir().join(format!("m2-load-{name}-{}", std::process::id()))
    }

    /// Tag, begin and length in seconds, and the histogram, of each line.
    fn lines(text: &[u8]) -> Vec<(String, u64, u64, Histogram<u64>)> {
        let entries = IntervalLogIterator::new(text).map(Result::unwrap);
        let lines = entries.filter_map(|entry| match entry {
            LogEntry::Interval(line) => {
                use base64::Engine as _;
                let bytes = base64::engine::general_purpose::STANDARD
                    .decode(line.encoded_histogram())
                    .unwrap();
                let histogram = Deserializer::new().deserialize(&mut &bytes[..]).unwrap();
                let tag = line.tag().unwrap().as_str().to_owned();
                let (begin, length) = (line.start_timestamp(), line.duration());
                Some((tag, begin.as_secs(), length.as_secs(), histogram))
            }
            _ => None,
        });
        lines.collect()
    }

    #[test]
    fn each_second_is_a_line_for_each_kind_of_latency() {
        let path = path("lines");
        let mut log = IntervalLog::create(&path).unwrap();
        log.second(&second(0, 1, &[1_000, 2_000]));
        log.second(&second(1, 2, &[]));
        log.second(&second(2, 4, &[3_000_000]));
        log.finish().unwrap();
        let text = std::fs::read(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        let told: Vec<_> = lines(&text)
            .into_iter()
            .map(|(tag, begin, length, at)| (tag, begin, length, at.len(), at.max()))
            .collect();
        let line =
            |tag: &str, begin, length, count, max| (tag.to_owned(), begin, length, count, max);
        assert_eq!(
            told,
            [
                line("scheduled", 0, 1, 2, 2_000),
                line("service", 0, 1, 2, 1_000),
                line("scheduled", 1, 1, 0, 0),
                line("service", 1, 1, 0, 0),
                line("scheduled", 2, 2, 1, 3_000_319),
                line("service", 2, 2, 1, 1_500_159),
            ]
        );
    }

    /// Goal: no latency is lost and none is doubled, whatever the writer's pace. Method: far more
    /// seconds than may wait, to a pipe that is read only when all were handed over.
    #[test]
    fn seconds_that_come_too_fast_are_one_with_the_next() {
        let path = path("fast");
        let (kind, mode) =
            (rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR);
        rustix::fs::mknodat(rustix::fs::CWD, &path, kind, mode, 0).unwrap();
        // Each end opens only with the other.
        let open = std::thread::spawn({
            let path = path.clone();
            move || File::open(path).unwrap()
        });
        let mut log = IntervalLog::create(&path).unwrap();
        let mut pipe = open.join().unwrap();
        for at in 0..2_000 {
            log.second(&second(at, at + 1, &[at + 1]));
        }
        let finish = std::thread::spawn(move || log.finish());
        let mut text = Vec::new();
        pipe.read_to_end(&mut text).unwrap();
        finish.join().unwrap().unwrap();
        std::fs::remove_file(&path).unwrap();
        let lines = lines(&text);
        assert!(lines.len() < 4_000, "none was late: {}", lines.len());
        let (mut count, mut end) = (0, 0);
        for (tag, begin, length, at) in lines {
            if tag == "scheduled" {
                assert_eq!(begin, end);
                end = begin + length;
                count += at.len();
            }
        }
        assert_eq!((count, end), (2_000, 2_000));
    }

    #[test]
    fn a_log_that_cannot_be_written_is_told_at_the_end_and_holds_nobody_up() {
        let error = IntervalLog::create(Path::new("/nonexistent/x.hlog")).unwrap_err();
        assert!(error.starts_with("--interval-log /nonexistent/x.hlog: "), "{error}");
        let mut log = IntervalLog::create(Path::new("/dev/full")).unwrap();
        for at in 0..100 {
            log.second(&second(at, at + 1, &[at + 1]));
        }
        let error = log.finish().unwrap_err();
        assert!(error.starts_with("--interval-log /dev/full: No space left"), "{error}");
    }

    #[test]
    fn a_run_without_a_second_leaves_a_file_of_nothing() {
        let path = path("nothing");
        IntervalLog::create(&path).unwrap().finish().unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"");
        std::fs::remove_file(&path).unwrap();
    }
}
