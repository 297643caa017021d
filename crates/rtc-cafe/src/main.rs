//! The RTCCafe command line.
fn main() {}
