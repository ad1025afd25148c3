//! Benchmarks of whole processes beside their baselines.

fn main() {}
