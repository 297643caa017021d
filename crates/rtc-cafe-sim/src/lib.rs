//! A seeded simulator that runs many RTCCafe clients and the hub in virtual time.
