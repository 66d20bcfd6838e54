//! What `check` warns of in a configuration that is right: what this machine makes of it.

use std::time::Duration;

use m2_core::Durability;

use crate::config::{Config, SwitchIo};
use crate::io::choose::choose;
use crate::journal::{presence, probe};
use crate::topology::StartError;
use crate::{pin, routes};

/// What of this machine `run` would refuse, without making anything.
///
/// # Errors
///
/// What is wrong with the route file; each core and each path that cannot be had; a journal that must exist and does not, or that would
/// be forgotten; io_uring where it is wanted and not permitted.
pub fn refuse(config: &Config) -> Result<(), StartError> {
    if config.switch.io == SwitchIo::Uring {
        choose(SwitchIo::Uring).map_err(StartError::Io)?;
    }
    pin::refuse(config).map_err(StartError::Configuration)?;
    routes::load(config).map_err(StartError::Configuration)?;
    presence::refuse(config)
}

/// Each a sentence that says what to change.
#[must_use]
pub fn warnings(config: &Config) -> Vec<String> {
    let waits = config.accounts.iter().any(|it| it.durability == Durability::Sync);
    let folder = &config.journal.path;
    let flush = match waits.then(|| probe::flush_time(folder)) {
        None => None,
        Some(Ok((longest, flushes))) => margin(config, longest, flushes),
        Some(Err(error)) => {
            let folder = folder.display();
            Some(format!("the time of a flush cannot be measured at {folder}: {error}"))
        }
    };
    flush.into_iter().chain(same_disk(config)).collect()
}

/// A disk that fails takes what was spilled to it, too.
fn same_disk(config: &Config) -> Option<String> {
    let (path, spill) = (&config.journal.path, config.journal.spill.as_ref()?);
    probe::on_one_disk(path, spill).then(|| {
        format!(
            "the spill folder {} is on the same disk as the journal {}: what a failing disk cannot take \
             would be lost with it. Write a folder on another disk",
            spill.display(),
            path.display()
        )
    })
}

/// What is flushed in time of the margin still reaches the peer before its PREPARE expires.
fn margin(config: &Config, longest: Duration, flushes: u32) -> Option<String> {
    let margin_ms = config.switch.expiry_margin_ms;
    let grace_ms = config.journal.sync_grace_ms;
    let needed = longest + Duration::from_millis(u64::from(grace_ms));
    (Duration::from_millis(u64::from(margin_ms)) <= needed).then(|| {
        format!(
            "expiry_margin_ms = {margin_ms} does not exceed what a record may take: a flush at {} took \
             up to {:.3} ms (the longest of {flushes}), and sync_grace_ms = {grace_ms} comes on top. \
             FULFILLs that come late would go on without their records: raise expiry_margin_ms, or \
             lower sync_grace_ms",
            config.journal.path.display(),
            longest.as_secs_f64() * 1e3,
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse;

    fn warned(margin_ms: u32, grace_ms: u32, longest: Duration) -> Option<String> {
        let text = format!(
            "[switch]\naddress = \"test.m2m\"\nnetwork = \"test\"\ncontrol_socket = \"c\"\n\
             expiry_margin_ms = {margin_ms}\n[journal]\nsync_grace_ms = {grace_ms}\n\
             [[assets]]\ncode = \"USD\"\nscale = 9\n[[accounts]]\nname = \"alice\"\n\
             relation = \"child\"\nasset = \"USD/9\"\ndial = \"btp+ws://:x@h/\"\n"
        );
        let config = parse(std::path::Path::new("/m2/switch.toml"), &text).unwrap();
        margin(&config, longest, 1_000)
    }

    #[test]
    fn the_margin_must_exceed_flush_and_grace() {
        assert_eq!(warned(100, 80, Duration::from_micros(19_999)), None);
        let told = warned(100, 80, Duration::from_millis(20)).unwrap();
        assert!(told.contains("took up to 20.000 ms (the longest of 1000)"), "{told}");
    }
}
