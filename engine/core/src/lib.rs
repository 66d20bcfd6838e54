//! The switch as a pure state machine.
