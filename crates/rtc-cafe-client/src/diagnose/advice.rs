//! What to do about what was found.

use super::{Blocked, Diagnosis, Mapping};

pub(super) fn of(diagnosis: &Diagnosis) -> Vec<String> {
    let mut advice = Vec::new();
    let mut say = |text: String| advice.push(text);
    let server = &diagnosis.server;
    match (server.http.ok, server.websocket.ok) {
        (false, false) => {
            say(format!(
                "Nobody can meet as long as {} cannot be reached: start it there, or check the URL.",
                server.url
            ));
        }
        (true, false) => {
            say("The server answers, but not to a websocket: have what lies in between, such as a proxy, pass on \
             /socket.io/ with the headers Upgrade and Connection."
                .to_owned())
        }
        (false, true) => {
            say("The server lets clients in; that /healthz does not answer is of no interest to them.".to_owned());
        }
        (true, true) => {}
    }
    for text in ice(diagnosis) {
        say(text);
    }
    if diagnosis.addresses.is_empty() {
        say("This machine has no address but loopback: connect it to a network to reach others.".to_owned());
    }
    if server.websocket.ok && !diagnosis.peers.check.ok {
        say(
            "Not even two clients on this machine have met: look for a firewall on it that blocks UDP between its own \
             addresses."
                .to_owned(),
        );
    }
    advice
}

fn ice(diagnosis: &Diagnosis) -> Vec<String> {
    let mut advice = Vec::new();
    let relays = diagnosis.turn.iter().any(|turn| turn.check.ok);
    if diagnosis.stun.is_empty() && diagnosis.turn.is_empty() {
        if diagnosis.server.websocket.ok {
            let text = "No STUN or TURN server is known, so only peers in the same network are reached: have the server \
                        name some (`rtc-cafe serve --ice-server`), or give one by --ice-server.";
            advice.push(text.to_owned());
        }
        return advice;
    }
    advice.extend(firewall(diagnosis).map(str::to_owned));
    let explained = matches!(diagnosis.blocked, Blocked::Udp | Blocked::AllButTcp443);
    for turn in diagnosis.turn.iter().filter(|turn| !turn.check.ok && (turn.answers || !explained)) {
        let problem = turn.check.problem.as_deref().unwrap_or_default();
        let text = match turn.transport {
            None => format!("Correct the ICE server {}: {problem}.", turn.url),
            Some(_) if problem.contains("credentials") => format!("Check user and password for {}.", turn.url),
            Some(transport) => format!("Check whether {} is up and reached over {transport}: {problem}.", turn.url),
        };
        advice.push(text);
    }
    match diagnosis.mapping.kind {
        Mapping::AddressDependent | Mapping::AddressAndPortDependent if !relays => advice.push(
            "The NAT shows everybody another address (\"symmetric\"), and no TURN server works: peers behind NATs of \
             their own are not reached. Add a TURN server."
                .to_owned(),
        ),
        Mapping::EndpointIndependent | Mapping::Unknown if !relays && diagnosis.turn.is_empty() => {
            advice.push("Without a TURN server, peers behind strict NATs or firewalls are not reached.".to_owned())
        }
        _ => {}
    }
    advice
}

/// What blocks, and what to do about it.
fn firewall(diagnosis: &Diagnosis) -> Option<&'static str> {
    let silence = !diagnosis.stun.is_empty() && diagnosis.stun.iter().all(|stun| !stun.check.ok);
    match diagnosis.blocked {
        Blocked::Udp => Some(
            "A firewall blocks UDP: everything goes through a TURN server over TCP, which is slower. Have UDP to the \
             outside allowed, at least to the TURN server's port.",
        ),
        Blocked::AllButTcp443 => Some(
            "A firewall lets nothing out but TCP to port 443: everything goes through a TURN server over TLS there \
             (turns:HOST:443), which is slower. Have UDP to the outside allowed.",
        ),
        Blocked::Everything | Blocked::Unknown if silence => Some(
            "No STUN server answers: if they are up, a firewall blocks UDP to the outside, and only a TURN server over \
             TCP or TLS leads out (turns: on port 443 is blocked least).",
        ),
        _ => None,
    }
}
