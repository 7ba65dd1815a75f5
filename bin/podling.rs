//! `podling`: the command line.

fn main() {}
