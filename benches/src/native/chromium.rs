//! Chromium to Chromium by the npm package, driven by a script beside the end-to-end tests.

use std::{collections::BTreeMap, path::Path};

use anyhow::{Context, ensure};
use tokio::process::Command;

use super::{metric::SIZES, throughput::WATCH, values_of};
use crate::process::Server;

const E2E: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../e2e");

/// The throughput of every size, by the keys of the metrics.
pub(super) async fn run(server: &Server) -> anyhow::Result<BTreeMap<String, f64>> {
    let folder = Path::new(E2E);
    ensure!(folder.join("node_modules").is_dir(), "the npm packages of e2e are missing; `cargo xtask setup` gets them");
    let mut command = Command::new("node");
    command.current_dir(folder).arg("bench/throughput.mjs").arg(format!("http://{}", server.address));
    command.arg(WATCH.as_millis().to_string()).args(SIZES.map(|size| size.to_string()));
    values_of(command).await.context("two pages in Chromium")
}
