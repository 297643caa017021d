//! What tokens and webhooks say of a client, in JSON.

use serde::Deserialize;
use serde_json::Value;

use super::{Pass, RoomRule};

/// Rooms of one client that are told apart; a token has no room for many more.
const MOST_ROOMS: usize = 1000;

/// The fields that change a pass; what is absent stays as it is. Others are passed over.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Grant {
    rooms: Option<Vec<Value>>,
    send: Option<bool>,
    limits: Option<GrantedLimits>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct GrantedLimits {
    rooms: Option<usize>,
    events_per_second: Option<u32>,
    burst: Option<u32>,
}

impl Grant {
    /// Writes it into a pass; the error says what is wrong with it.
    pub(super) fn apply(self, pass: &mut Pass) -> Result<(), String> {
        if let Some(rooms) = self.rooms {
            if rooms.len() > MOST_ROOMS {
                return Err(format!("there are more than {MOST_ROOMS} rooms"));
            }
            let rule = |room: &Value| RoomRule::from_json(&room.to_string()).map_err(|error| error.to_string());
            pass.rooms = Some(rooms.iter().map(rule).collect::<Result<_, _>>()?);
        }
        pass.send = self.send.unwrap_or(pass.send);
        if let Some(limits) = self.limits {
            pass.rooms_per_socket = limits.rooms.or(pass.rooms_per_socket);
            pass.events_per_second = limits.events_per_second.or(pass.events_per_second);
            pass.burst = limits.burst.or(pass.burst);
        }
        Ok(())
    }
}
