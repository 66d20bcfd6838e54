//! `m2ctl journal`, the real binary, on journals that the real writer wrote.

#![allow(clippy::unwrap_used)] // every function here is a test's
#![allow(dead_code)] // what is shared with the journal's own tests has more than is used here

mod cut;
mod diff;
mod dump;
mod page;
mod replay;
mod support;
mod verify;
/// Any history of a switch, from the tests of the journal itself.
#[path = "../../../journal/tests/crash/world.rs"]
mod world;
mod wrong;
