//! The packet generator.
