//! `podling-worker`: runs containers on a Docker Engine and reports.

fn main() {}
