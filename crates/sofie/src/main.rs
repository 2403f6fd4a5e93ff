//! The one binary: the command line, and `sofie up`.

fn main() {}
