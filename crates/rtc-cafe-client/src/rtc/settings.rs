//! How connections are set up.

use std::time::Instant;

use str0m::{
    Candidate, Rtc,
    config::{DtlsCert, DtlsVersion},
};

/// What the data channel takes before it is full: more than what the core hands it at a time.
const CHANNEL_BYTES: usize = 2 << 20;

/// What all connections of a client have in common.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    /// Below how many bytes in the data channel it reports so.
    pub(crate) low_water: usize,
    /// One certificate for the whole client: making one costs more than a handshake. `None`: one for each connection.
    pub(crate) certificate: Option<DtlsCert>,
}

impl Settings {
    pub(super) fn rtc(&self, candidates: &[Candidate], now: Instant) -> Rtc {
        let mut config = Rtc::builder()
            .set_rtp_mode(true)
            .clear_codecs()
            .enable_opus(true, false)
            .enable_vp8(true)
            .enable_vp9(true)
            .enable_h264(true)
            .set_snap_enabled(true)
            .set_dtls_version(DtlsVersion::Auto)
            .set_sctp_max_buffered_amount(CHANNEL_BYTES);
        if let Some(certificate) = &self.certificate {
            config = config.set_dtls_cert(certificate.clone());
        }
        let mut rtc = config.build(now);
        for candidate in candidates {
            rtc.add_local_candidate(candidate.clone());
        }
        rtc
    }
}

/// Makes a certificate; `None` when there is no cryptography.
pub(crate) fn certificate() -> Option<DtlsCert> {
    str0m::crypto::from_feature_flags().dtls_provider.generate_certificate()
}
