//! The targets: each a law about all inputs, as a function that panics where it does not hold.

pub mod address;
pub mod btp_stream;
pub mod configuration;
pub mod control_socket;
pub mod core;
pub mod ildcp;
pub mod oer;
pub mod packet;
pub mod settlement_message;
pub mod timestamp;
pub mod url;
pub mod websocket;
