//! The RTCCafe client core in WebAssembly.
