//! How a command becomes a peer: the options that `join`, `send` and `receive` have in common.

use anyhow::Context;
use rtc_cafe_client::{Client, Events, IceServer, RoomId, RtcConfig};

use crate::{
    hidden::Hidden,
    ice,
    listed::Listed,
    text::{MAX_NAME, clean_line},
};

/// Where this machine's own server is.
const DEFAULT_SERVER: &str = "http://127.0.0.1:8080";

/// The server to meet at, and those that help to connect.
#[derive(Debug, clap::Args)]
pub(crate) struct ServerOptions {
    /// URL of the signalling server
    #[arg(long, env = "RTC_CAFE_SERVER", value_name = "URL", default_value = DEFAULT_SERVER)]
    server: String,

    /// STUN or TURN server to use; repeat it, or separate several by commas
    ///
    /// Without any, those that the signalling server names are used. It is `stun:HOST[:PORT]` or
    /// `turn:USER:PASSWORD@HOST[:PORT][?transport=udp|tcp]`, or the same with `stuns:` or `turns:`.
    #[arg(
        long,
        env = "RTC_CAFE_ICE_SERVER",
        hide_env_values = true,
        value_name = "URL",
        value_delimiter = ',',
        value_parser = ice::parse_listed
    )]
    ice_server: Vec<Listed<ice::Server>>,

    /// Token for a server that asks for one
    ///
    /// It can be read in the list of processes; the variable cannot.
    #[arg(long, env = "RTC_CAFE_TOKEN", hide_env_values = true, value_name = "TOKEN")]
    token: Option<Hidden>,
}

/// Where the others are, and the way to them.
#[derive(Debug, clap::Args)]
pub(crate) struct PeerOptions {
    #[command(flatten)]
    servers: ServerOptions,

    /// Connects over TURN servers only, so that the others do not see this machine's addresses
    #[arg(long, env = "RTC_CAFE_RELAY_ONLY", value_parser = clap::builder::FalseyValueParser::new())]
    relay_only: bool,
}

/// A room as it is named on the command line.
pub(crate) fn room(text: &str) -> Result<RoomId, String> {
    RoomId::named(text).map_err(|error| error.to_string())
}

impl From<ice::Server> for IceServer {
    fn from(server: ice::Server) -> Self {
        match server.credentials {
            Some((user, password)) => Self::new(server.url).with_credentials(user, password),
            None => Self::new(server.url),
        }
    }
}

impl ServerOptions {
    /// URL of the signalling server.
    pub(crate) fn server(&self) -> &str {
        Some(self.server.trim()).filter(|server| !server.is_empty()).unwrap_or(DEFAULT_SERVER)
    }

    /// What the server is told when it asks who this is.
    pub(crate) fn auth(&self) -> Option<serde_json::Value> {
        let token = self.token.as_deref().map(str::trim).filter(|token| !token.is_empty());
        token.map(|token| serde_json::json!({ "token": token }))
    }

    pub(crate) fn ice_servers(&self) -> impl Iterator<Item = IceServer> {
        self.ice_server.iter().flatten().cloned().map(IceServer::from)
    }
}

impl PeerOptions {
    /// Begins to connect, and joins the room, if there is one yet.
    pub(crate) fn connect(&self, room: Option<&RoomId>) -> anyhow::Result<(Client, Events)> {
        let server = self.servers.server();
        let mut config = RtcConfig::new(self.servers.ice_servers());
        config.relay_only = self.relay_only;
        let mut builder = Client::builder(server).rtc_config(config);
        if let Some(auth) = self.servers.auth() {
            builder = builder.auth(&auth);
        }
        let (client, events) = builder.connect().with_context(|| format!("cannot use the server {server:?}"))?;
        if let Some(room) = room {
            client.join_room(room.clone())?;
        }
        Ok((client, events))
    }
}

/// A room's name, safe to show.
pub(crate) fn shown(room: &RoomId) -> String {
    let name = serde_json::from_str::<String>(room.as_json()).unwrap_or_default();
    clean_line(&name, 60)
}

/// The name to go by: the one that was chosen, or else the user's.
pub(crate) fn own_name(chosen: Option<&str>) -> String {
    let user = ["USER", "USERNAME", "LOGNAME"].into_iter().filter_map(|name| std::env::var(name).ok());
    let names = chosen.map(str::to_owned).into_iter().chain(user);
    names.map(|name| clean_line(&name, MAX_NAME)).find(|name| !name.is_empty()).unwrap_or_else(|| "guest".to_owned())
}
