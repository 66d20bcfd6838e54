//! Benches and baselines.
