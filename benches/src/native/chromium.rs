//! Chromium to Chromium by the npm package, driven by a script beside the end-to-end tests.

use std::collections::BTreeMap;

use anyhow::Context;

use super::{metric::SIZES, throughput::WATCH, values_of};
use crate::process::{Server, script};

/// The throughput of every size, by the keys of the metrics.
pub(super) async fn run(server: &Server) -> anyhow::Result<BTreeMap<String, f64>> {
    let mut command = script("throughput.mjs")?;
    command.arg(format!("http://{}", server.address(0))).arg(WATCH.as_millis().to_string());
    command.args(SIZES.map(|size| size.to_string()));
    values_of(command).await.context("two pages in Chromium")
}
