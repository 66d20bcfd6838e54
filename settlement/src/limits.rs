//! Every limit of the process, with the sum it came from.

use std::time::Duration;

/// Largest configuration file that is read.
pub(crate) const CONFIG_LEN_MAX: u64 = 1 << 20;

/// Longest line of the switch: its hello has all accounts, 150 bytes each.
pub(crate) const SWITCH_LINE_LEN_MAX: usize = 16 << 20;

/// Longest line of an operator.
pub(crate) const CONTROL_LINE_LEN_MAX: usize = 4_096;

/// Operators at once.
pub(crate) const OPERATORS_MAX: usize = 16;

/// Events that wait for the loop; whoever brings more waits.
pub(crate) const EVENTS_MAX: usize = 1_024;

/// Events that are made durable together: as many as a flush of some milliseconds lets come.
pub(crate) const STEP_EVENTS_MAX: usize = 64;

/// How long there is no second alarm about a peer that has no credit left.
pub(crate) const EXHAUSTION_TOLD_EVERY_MS: u64 = 60_000;

/// How often time passes where nothing else happens.
pub(crate) const TICK: Duration = Duration::from_millis(200);

/// Rest before the switch is sought again, at first and at most.
pub(crate) const SWITCH_REST_MIN: Duration = Duration::from_millis(50);
/// See [`SWITCH_REST_MIN`].
pub(crate) const SWITCH_REST_MAX: Duration = Duration::from_secs(2);

/// How long a peer of a socket of ours may take to read a line.
pub(crate) const LINE_TIME: Duration = Duration::from_secs(5);

/// How long an operator waits for what the switch has to do.
pub(crate) const OPERATOR_TIME: Duration = Duration::from_secs(10);

/// How long a signer process may take to sign: it may ask a module of its own.
pub(crate) const SIGNER_TIME: Duration = Duration::from_secs(5);
