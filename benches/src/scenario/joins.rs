//! Rooms that fill up, every member answering: how long a newcomer waits for the last answer.
//!
//! The bare relay knows no rooms. There a newcomer has one connection for each member, which sends back what it gets:
//! as many frames to the members and back as in a room.

use std::time::{Duration, Instant};

use futures_util::{StreamExt, TryStreamExt, stream};
use tokio::task::JoinSet;
use tokio_tungstenite::tungstenite::Utf8Bytes;

use super::together;
use crate::{
    client::{Client, Pair, join, response},
    metric::{Metric, Samples, percentile},
    process::{Server, Target},
};

const ROOM: usize = 8;
/// Pairs that are there before the memory is first read.
const WARM_UP: usize = 32;
/// Rooms that fill up at a time where the rate is measured.
const AT_ONCE: usize = 16;

/// How long each newcomer took, by how many others were there.
type Times = Vec<(usize, Duration)>;

pub(super) async fn run(server: &Server, rooms: usize, samples: &mut Samples) -> anyhow::Result<()> {
    let warm = |number| Pair::open(server, format!("warm-{number}"));
    let _warm: Vec<_> = stream::iter(0..WARM_UP).map(warm).buffered(4).try_collect().await?;
    let memory = server.memory()?;
    let prepare = |number: usize| Room::prepare(server, format!("room-{number}"));
    let rooms: Vec<_> = stream::iter(0..2 * rooms).map(prepare).buffered(4).try_collect().await?;
    let mut alone = rooms;
    let crowded = alone.split_off(alone.len() / 2);

    let mut times = Times::new();
    // Who is in a room stays, so that nobody measures how connections end.
    let mut full = Vec::new();
    for room in alone {
        let (took, members) = room.fill().await?;
        times.extend(took);
        full.push(members);
    }
    let millis = |times: &Times, least: usize| {
        let times = times.iter().filter(|(others, _)| *others >= least);
        times.map(|(_, time)| time.as_secs_f64() * 1e3).collect::<Vec<_>>()
    };
    samples.add(Metric::JoinMedian, percentile(millis(&times, 1), 0.5));
    samples.add(Metric::JoinSlow, percentile(millis(&times, 1), 0.99));
    samples.add(Metric::JoinLast, percentile(millis(&times, ROOM - 1), 0.5));

    let joins = (crowded.len() * (ROOM - 1)) as f64;
    let mut lanes: Vec<Vec<Room>> = (0..AT_ONCE).map(|_| Vec::new()).collect();
    crowded.into_iter().enumerate().for_each(|(number, room)| lanes[number % AT_ONCE].push(room));
    let start = Instant::now();
    let crowded = together(lanes.into_iter().map(|lane| async move {
        let mut kept = Vec::new();
        for room in lane {
            kept.push(room.fill().await?.1);
        }
        Ok(kept)
    }))
    .await?;
    samples.add(Metric::Joins, joins / start.elapsed().as_secs_f64());
    full.extend(crowded.into_iter().flatten());
    let connections: usize = full.iter().map(Members::connections).sum();
    samples.add(Metric::MemoryUsed, (server.memory()? - memory) / connections as f64);
    Ok(())
}

/// A room with one member, and those who are about to join.
enum Room {
    Signaller { name: String, clients: Vec<Client> },
    Relay { text: Utf8Bytes, pairs: Vec<Pair> },
}

impl Room {
    async fn prepare(server: &Server, name: String) -> anyhow::Result<Self> {
        if server.target == Target::Relay {
            let text = join(&name).into();
            let mut pairs = Vec::new();
            for number in 1..ROOM {
                pairs.push(Pair::open(server, format!("{name}-{number}")).await?);
            }
            return Ok(Self::Relay { text, pairs });
        }
        let mut first = Client::signaller(server.address(0)).await?;
        first.join_first(&name).await?;
        let mut clients = vec![first];
        for number in 1..ROOM {
            clients.push(Client::signaller(server.address(number)).await?);
        }
        Ok(Self::Signaller { name, clients })
    }

    /// Lets one after the other join; the members answer until the tasks are dropped.
    async fn fill(self) -> anyhow::Result<(Times, Members)> {
        match self {
            Self::Signaller { name, clients } => fill(&name, clients).await,
            Self::Relay { text, pairs } => imitate(&text, pairs).await,
        }
    }
}

/// The members of a room, who answer for as long as this lives.
struct Members {
    answering: JoinSet<anyhow::Result<()>>,
    /// The newcomer's ends, at the bare relay.
    ends: Vec<Client>,
}

impl Members {
    fn connections(&self) -> usize {
        self.answering.len() + self.ends.len()
    }
}

async fn fill(name: &str, clients: Vec<Client>) -> anyhow::Result<(Times, Members)> {
    let mut answering = JoinSet::new();
    let mut times = Times::new();
    let join = join(name);
    for (others, mut newcomer) in clients.into_iter().enumerate() {
        // The first is in already.
        if others > 0 {
            let start = Instant::now();
            newcomer.send(&join).await?;
            for _ in 0..others {
                newcomer.expect(r#"42/rtc-cafe,["acquire-peers-response","#).await?;
            }
            times.push((others, start.elapsed()));
        }
        answering.spawn(answer(newcomer, name.to_owned()));
    }
    Ok((times, Members { answering, ends: Vec::new() }))
}

async fn answer(mut member: Client, room: String) -> anyhow::Result<()> {
    loop {
        let announcement = member.expect(r#"42/rtc-cafe,["acquire-peers","#).await?;
        member.send(&response(&announcement, &room)?).await?;
    }
}

async fn imitate(text: &Utf8Bytes, pairs: Vec<Pair>) -> anyhow::Result<(Times, Members)> {
    let mut answering = JoinSet::new();
    let mut newcomers = Vec::new();
    for Pair { ends: [(newcomer, _), (member, _)] } in pairs {
        newcomers.push(newcomer);
        answering.spawn(echo(member));
    }
    let mut times = Times::new();
    for others in 1..ROOM {
        let start = Instant::now();
        for newcomer in &mut newcomers[..others] {
            newcomer.send_all(text, 1).await?;
        }
        for newcomer in &mut newcomers[..others] {
            newcomer.receive().await?;
        }
        times.push((others, start.elapsed()));
    }
    Ok((times, Members { answering, ends: newcomers }))
}

async fn echo(mut member: Client) -> anyhow::Result<()> {
    loop {
        let text = member.receive().await?;
        member.send_all(&text, 1).await?;
    }
}
