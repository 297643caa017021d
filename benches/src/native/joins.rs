//! How long it takes from joining a room to an open channel.

use std::time::Instant;

use rtc_cafe_client::Event;

use super::{
    bare,
    metric::Metric,
    part::{Peer, Values},
};
use crate::metric::percentile;

/// Joins that do not count, so that nothing is done for the first time.
const WARM_UP: usize = 5;

/// A newcomer joins a room with one member, again and again.
pub(super) async fn ours(server: &str, number: usize) -> anyhow::Result<Values> {
    let room = format!("joins-{}", std::process::id());
    let mut member = Peer::connect(server).await?;
    member.client.join_room(room.as_str())?;
    let mut times = Vec::new();
    for _ in 0..WARM_UP + number {
        let mut newcomer = Peer::connect(server).await?;
        let start = Instant::now();
        newcomer.client.join_room(room.as_str())?;
        tokio::try_join!(newcomer.connected(), member.connected())?;
        times.push(start.elapsed().as_secs_f64() * 1e3);
        newcomer.client.close().await;
        member.until(|event| matches!(event, Event::DisconnectFromPeer { .. })).await?;
    }
    Ok(values(times))
}

/// Two ends are made and connect, again and again.
pub(super) async fn bare(number: usize) -> anyhow::Result<Values> {
    let certificates = [bare::certificate()?, bare::certificate()?];
    let mut times = Vec::new();
    for _ in 0..WARM_UP + number {
        let sockets = [bare::socket()?, bare::socket()?];
        let start = Instant::now();
        let [mut one, mut two] = bare::pair(sockets, [&certificates[0], &certificates[1]])?;
        // An end that is open goes on, for the other may need it.
        let mut other = tokio::spawn(async move {
            two.open().await?;
            anyhow::Ok(two)
        });
        one.open().await?;
        let two = loop {
            tokio::select! {
                two = &mut other => break two??,
                event = one.next() => drop(event?),
            }
        };
        times.push(start.elapsed().as_secs_f64() * 1e3);
        drop((one, two));
    }
    Ok(values(times))
}

fn values(mut times: Vec<f64>) -> Values {
    let times = times.split_off(WARM_UP);
    vec![(Metric::OpenMedian, percentile(times.clone(), 0.5)), (Metric::OpenSlow, percentile(times, 0.99))]
}
