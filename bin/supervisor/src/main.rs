//! Runs a family of processes from one `config.json`.

fn main() {}
