//! The RTCCafe signalling server as a library.
