//! How far connections got: the part of [`Core`] that is about it.

use rtc_cafe_core::{Route, Sid};
use wasm_bindgen::prelude::*;

use crate::{Core, time};

#[wasm_bindgen]
impl Core {
    /// What has happened to the connection with a peer: `[route?, attempts, restarts, failure?, ...phases]`, with the
    /// name of each phase and the milliseconds spent in it one after the other. The last one is the present one.
    #[wasm_bindgen(js_name = connectionReport)]
    pub fn connection_report(&self, now: f64, sid: String) -> Option<Vec<JsValue>> {
        let report = self.0.connection_report(time(now), &Sid::new(sid)?)?;
        let mut values: Vec<JsValue> = vec![
            report.route.map(Route::as_str).into(),
            report.attempts.into(),
            report.restarts.into(),
            report.failure.into(),
        ];
        for (phase, spent) in report.phases {
            values.push(phase.as_str().into());
            values.push((spent.as_millis() as f64).into());
        }
        Some(values)
    }
}
