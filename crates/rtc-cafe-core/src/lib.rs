//! The RTCCafe client as a state machine without I/O.
