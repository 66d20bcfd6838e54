//! A histogram as percentiles in text, the form that HdrHistogram's plotter reads (`.hgrm`).
//!
//! ```text
//! #[m2-load: ...]
//!        Value     Percentile TotalCount 1/(1-Percentile)
//!
//!       84.031 0.000000000000          1           1.00
//!      ...
//!     1249.279 1.000000000000      20000
//! #[Mean    =       91.102, StdDeviation   =       33.015]
//! #[Max     =     1249.279, Total count    =        20000]
//! #[Buckets =           30, SubBuckets     =         2048]
//! ```
//!
//! Values are microseconds with three decimals: each is a whole number of nanoseconds, as it was
//! counted.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use hdrhistogram::Histogram;

/// Steps for each halving of the distance to 1: what HdrHistogram's own tools take.
const TICKS_PER_HALF_DISTANCE: f64 = 5.0;

/// Two files, open: latency from the scheduled time, and service time.
#[derive(Debug)]
pub struct HgrmFiles {
    scheduled: (PathBuf, File),
    service: (PathBuf, File),
}

impl HgrmFiles {
    /// Creates `path` and its neighbour: `x.hgrm` and `x.service.hgrm`.
    ///
    /// # Errors
    ///
    /// A sentence that names the file, if one cannot be created.
    pub fn create(path: &Path) -> Result<Self, String> {
        let create = |path: PathBuf| match File::create(&path) {
            Ok(file) => Ok((path, file)),
            Err(error) => Err(told(&path, &error)),
        };
        Ok(Self { scheduled: create(path.to_owned())?, service: create(service_path(path))? })
    }

    /// Writes both.
    ///
    /// # Errors
    ///
    /// A sentence that names the file, if one cannot be written.
    pub fn write(self, latency: &Histogram<u64>, service: &Histogram<u64>) -> Result<(), String> {
        let write = |(path, file): (PathBuf, File), title, histogram| {
            let mut out = BufWriter::new(file);
            put(&mut out, title, histogram)
                .and_then(|()| out.flush())
                .map_err(|error| told(&path, &error))
        };
        write(self.scheduled, "latency from the scheduled time", latency)?;
        write(self.service, "latency from the time of sending (service time)", service)
    }
}

fn told(path: &Path, error: &io::Error) -> String {
    format!("--hgrm {}: {error}; give a path that can be written", path.display())
}

/// `x.hgrm` has the neighbour `x.service.hgrm`.
pub(crate) fn service_path(path: &Path) -> PathBuf {
    let extension = path
        .extension()
        .map_or_else(String::new, |extension| format!(".{}", extension.to_string_lossy()));
    path.with_extension(format!("service{extension}"))
}

/// Writes one histogram of nanoseconds.
fn put(out: &mut impl Write, title: &str, histogram: &Histogram<u64>) -> io::Result<()> {
    writeln!(out, "#[m2-load: {title}, in microseconds]")?;
    writeln!(
        out,
        "{:>12} {:>14} {:>10} {:>14}\n",
        "Value", "Percentile", "TotalCount", "1/(1-Percentile)"
    )?;
    for Step { value, percentile, count } in steps(histogram) {
        write!(out, "{:>12} {:>14.12} {count:>10}", us(value), percentile / 100.0)?;
        match percentile < 100.0 {
            true => writeln!(out, " {:>14.2}", 100.0 / (100.0 - percentile))?,
            false => writeln!(out)?,
        }
    }
    let (mean, deviation) = (histogram.mean() / 1e3, histogram.stdev() / 1e3);
    writeln!(out, "#[Mean    = {mean:>12.3}, StdDeviation   = {deviation:>12.3}]")?;
    let (max, count) = (us(histogram.max()), histogram.len());
    writeln!(out, "#[Max     = {max:>12}, Total count    = {count:>12}]")?;
    let buckets = histogram.buckets();
    // As many as tell two values apart that differ by one in the last digit, a power of two.
    let sub_buckets = (2 * 10_u64.pow(histogram.sigfig().into())).next_power_of_two();
    writeln!(out, "#[Buckets = {buckets:>12}, SubBuckets     = {sub_buckets:>12}]")
}

/// One line: so many values are at most this one.
struct Step {
    value: u64,
    percentile: f64,
    count: u64,
}

/// The steps that HdrHistogram's other editions write: at each value, one for each level that it
/// reaches, and one at the end. In percent and added up as they do it: the crate's own steps are
/// fractions, and where a level is reached exactly (0.6 of 4,000) they differ by a value.
fn steps(histogram: &Histogram<u64>) -> Vec<Step> {
    let total = histogram.len();
    let (mut steps, mut count, mut level) = (Vec::new(), 0, 0.0);
    #[expect(clippy::cast_precision_loss)] // as the others do
    let percent = |count: u64| 100.0 * count as f64 / total as f64;
    for recorded in histogram.iter_recorded() {
        let value = recorded.value_iterated_to();
        count += recorded.count_since_last_iteration();
        // At most TICKS_PER_HALF_DISTANCE levels for each of the 64 halvings that a count has.
        while percent(count) >= level {
            steps.push(Step { value, percentile: level, count });
            if count == total {
                steps.push(Step { value, percentile: 100.0, count });
                break;
            }
            level += level_step(level);
        }
    }
    steps
}

/// From one level to the next: smaller with each halving of the distance to 100.
fn level_step(level: f64) -> f64 {
    let halvings = (100.0 / (100.0 - level)).log2().floor() + 1.0;
    100.0 / (TICKS_PER_HALF_DISTANCE * halvings.exp2())
}

/// Nanoseconds as microseconds with three decimals, exact.
fn us(ns: u64) -> String {
    format!("{}.{:03}", ns / 1_000, ns % 1_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(values: impl IntoIterator<Item = u64>) -> String {
        let mut histogram = Histogram::new_with_bounds(1, 600_000_000_000, 3).unwrap();
        values.into_iter().for_each(|value| histogram.record(value).unwrap());
        let mut out = Vec::new();
        put(&mut out, "x", &histogram).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn the_text_is_the_one_that_the_plotter_reads() {
        let text = text((1..=1_000).map(|value| value * 1_000));
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines[0], "#[m2-load: x, in microseconds]");
        assert_eq!(lines[1], "       Value     Percentile TotalCount 1/(1-Percentile)");
        assert_eq!(lines[2..4], ["", "       1.000 0.000000000000          1           1.00"]);
        assert_eq!(lines[4], "     100.031 0.100000000000        100           1.11");
        let median = "     500.223 0.500000000000        500           2.00";
        assert!(lines.contains(&median), "{text}");
        let last = lines.len() - 4;
        assert_eq!(lines[last], "    1000.447 1.000000000000       1000");
        assert_eq!(lines[last + 1], "#[Mean    =      500.505, StdDeviation   =      288.676]");
        assert_eq!(lines[last + 2], "#[Max     =     1000.447, Total count    =         1000]");
        assert_eq!(lines[last + 3], "#[Buckets =           30, SubBuckets     =         2048]");
    }

    #[test]
    fn a_histogram_of_nothing_is_written_too() {
        let text = text([]);
        assert!(text.contains("Total count    =            0]"), "{text}");
        assert!(!text.contains("NaN") && !text.contains("inf"), "{text}");
    }

    #[test]
    fn the_service_times_go_to_a_neighbour() {
        for (path, neighbour) in [
            ("a/x.hgrm", "a/x.service.hgrm"),
            ("x", "x.service"),
            ("a.b/x.y.hgrm", "a.b/x.y.service.hgrm"),
        ] {
            assert_eq!(service_path(Path::new(path)), Path::new(neighbour));
        }
    }

    #[test]
    fn a_path_that_cannot_be_written_is_told() {
        let error = HgrmFiles::create(Path::new("/nonexistent/x.hgrm")).unwrap_err();
        assert!(error.starts_with("--hgrm /nonexistent/x.hgrm: "), "{error}");
        let full = || (PathBuf::from("/dev/full"), File::create("/dev/full").unwrap());
        let files = HgrmFiles { scheduled: full(), service: full() };
        let empty = Histogram::new(3).unwrap();
        let error = files.write(&empty, &empty).unwrap_err();
        assert!(error.starts_with("--hgrm /dev/full: No space left"), "{error}");
    }
}
