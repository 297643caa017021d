//! What nodes say to each other: one JSON object, and for signals a line feed and the signal's own object.
//!
//! Unknown types and fields are ignored, so nodes of neighbouring versions understand each other.

use std::{borrow::Cow, sync::Arc};

use rtc_cafe_wire::{
    RoomId,
    json::{self, Object, Value, Writer},
    limits::{MAX_ID, MAX_PAYLOAD},
    signal::name,
};

use super::super::ended::Proof;

/// Longest frame that is read; a signal fits, also where longer payloads are allowed than by default.
const MAX_FRAME: usize = 16 * MAX_PAYLOAD;
/// Members that one frame names at most.
pub(super) const MAX_MEMBERS: usize = 250;

/// No clock will show more; what comes after it can still be counted.
const LATEST: u64 = 1 << 62;

/// A member of a room, as its own node tells of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Member<'a> {
    pub(super) sid: Cow<'a, str>,
    /// The JSON of its bound id.
    pub(super) id: Option<Arc<str>>,
    pub(super) proof: Option<Proof>,
    /// When it joined, in microseconds of the wall clock, and later than all whom its node knew then.
    pub(super) joined: u64,
    /// The session that it says it replaces.
    pub(super) claim: Option<Claim>,
}

/// A `prevSid`, and the proof that goes with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::hub) struct Claim {
    pub(in crate::hub) sid: Box<str>,
    pub(in crate::hub) proof: Option<Proof>,
}

/// What is said; who says it is beside it.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Frame<'a> {
    /// To a room: the sender has members in it, since this entry of its own count.
    Enter { room: RoomId, entry: u64 },
    /// To one node, numbered within a link.
    Link { link: u64, number: u64, body: Body<'a> },
}

/// What one node says to another.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Body<'a> {
    /// The sender is alive.
    Beat,
    /// The sender has missed something and wants to be told everything.
    Sync,
    /// Everything follows, until `End`.
    Begin,
    End,
    /// Members of the sender in a room, in numbered parts.
    Room(Roster<'a>),
    Join {
        room: RoomId,
        member: Member<'a>,
    },
    Leave {
        room: RoomId,
        sid: Cow<'a, str>,
    },
    /// A session has ended, and is to be remembered, or not.
    Gone {
        sid: Cow<'a, str>,
        remember: bool,
    },
    /// A session of the recipient is to be ended, because an operator says so.
    Kick {
        sid: Cow<'a, str>,
    },
    /// A session has got its secret after it joined.
    Session {
        sid: Cow<'a, str>,
        proof: Proof,
    },
    /// An offer, answer or candidate, with the sender's stamp.
    Signal {
        event: &'static str,
        to: Cow<'a, str>,
        signal: Object<'a>,
    },
    /// The same for everybody who shares a room with the sender.
    Broadcast {
        event: &'static str,
        signal: Object<'a>,
    },
    /// An `acquire-peers-response`.
    Response {
        to: Cow<'a, str>,
        sid: Cow<'a, str>,
        id: Option<Arc<str>>,
        room: Option<RoomId>,
        claim: Option<Claim>,
    },
    /// Of a version that is not ours.
    Unknown,
}

/// The members of a node in a room.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Roster<'a> {
    pub(super) room: RoomId,
    pub(super) entry: u64,
    /// The sender wants to be told ours, and knows us by this entry.
    pub(super) want: Option<u64>,
    /// The sender has known our members all the time, and announced them when they came.
    pub(super) knows: bool,
    pub(super) part: u32,
    /// There are more parts.
    pub(super) more: bool,
    pub(super) members: Vec<Member<'a>>,
}

/// Who sends a frame, and what it says; `None` for what is no frame.
pub(super) fn read(text: &str) -> Option<(Cow<'_, str>, Frame<'_>)> {
    if text.len() > MAX_FRAME {
        return None;
    }
    let (header, payload) = text.split_once('\n').map_or((text, None), |(header, payload)| (header, Some(payload)));
    let header = Object::parse(header).ok()?;
    let from = short(&header, "from")?;
    let kind = header.string("type")?;
    let frame = if kind == "enter" {
        Frame::Enter { room: room(&header)?, entry: number(&header, "entry")? }
    } else {
        let (link, number) = (number(&header, "link")?, number(&header, "number")?);
        Frame::Link { link, number, body: read_body(&kind, &header, payload)? }
    };
    Some((from, frame))
}

fn read_body<'a>(kind: &str, header: &Object<'a>, payload: Option<&'a str>) -> Option<Body<'a>> {
    Some(match kind {
        "beat" => Body::Beat,
        "sync" => Body::Sync,
        "begin" => Body::Begin,
        "end" => Body::End,
        "room" => Body::Room(read_roster(header)?),
        "join" => Body::Join { room: room(header)?, member: member(header)? },
        "leave" => Body::Leave { room: room(header)?, sid: short(header, "sid")? },
        "gone" => {
            let forget = header.get("forget").and_then(Value::as_bool) == Some(true);
            Body::Gone { sid: short(header, "sid")?, remember: !forget }
        }
        "kick" => Body::Kick { sid: short(header, "sid")? },
        "session" => Body::Session { sid: short(header, "sid")?, proof: proof(header, "proof")? },
        "signal" => {
            let (event, signal) = read_signal(header, payload)?;
            Body::Signal { event, to: short(header, "to")?, signal }
        }
        "broadcast" => {
            let (event, signal) = read_signal(header, payload)?;
            Body::Broadcast { event, signal }
        }
        "response" => Body::Response {
            to: short(header, "to")?,
            sid: short(header, "sid")?,
            id: id(header)?,
            room: room(header),
            claim: claim(header),
        },
        _ => Body::Unknown,
    })
}

fn read_signal<'a>(header: &Object<'a>, payload: Option<&'a str>) -> Option<(&'static str, Object<'a>)> {
    let event = header.string("event")?;
    let event = [name::OFFER, name::ANSWER, name::CANDIDATE].into_iter().find(|name| *name == event)?;
    Some((event, Object::parse(payload?).ok()?))
}

fn read_roster<'a>(header: &Object<'a>) -> Option<Roster<'a>> {
    let members = header.get("members")?.as_array().filter(|members| members.len() <= MAX_MEMBERS)?;
    let members = members.into_iter().map(|value| member(&value.as_object()?)).collect::<Option<_>>()?;
    Some(Roster {
        room: room(header)?,
        entry: number(header, "entry")?,
        want: number(header, "want"),
        knows: flag(header, "knows"),
        part: header.get("part").and_then(Value::as_u32).unwrap_or(0),
        more: flag(header, "more"),
        members,
    })
}

fn member<'a>(object: &Object<'a>) -> Option<Member<'a>> {
    Some(Member {
        sid: short(object, "sid")?,
        id: id(object)?,
        proof: proof(object, "proof"),
        joined: number(object, "joined").filter(|joined| *joined <= LATEST)?,
        claim: claim(object),
    })
}

/// A text that is not empty and not longer than an id may be.
fn short<'a>(object: &Object<'a>, key: &str) -> Option<Cow<'a, str>> {
    object.string(key).filter(|text| (1..=MAX_ID).contains(&text.len()))
}

fn room(object: &Object<'_>) -> Option<RoomId> {
    RoomId::from_json(object.get("room")?).ok()
}

fn number(object: &Object<'_>, key: &str) -> Option<u64> {
    object.get(key)?.text().parse().ok()
}

fn flag(object: &Object<'_>, key: &str) -> bool {
    object.get(key).and_then(Value::as_bool).unwrap_or(false)
}

fn proof(object: &Object<'_>, key: &str) -> Option<Proof> {
    Proof::from_hex(&object.string(key)?)
}

fn claim(object: &Object<'_>) -> Option<Claim> {
    Some(Claim { sid: short(object, "prev")?.into(), proof: proof(object, "claim") })
}

/// The bound id, which is JSON in a string; `None` if that is none.
fn id(object: &Object<'_>) -> Option<Option<Arc<str>>> {
    let Some(id) = object.string("id") else { return Some(None) };
    Value::parse(&id).ok()?;
    Some(Some(id.as_ref().into()))
}

/// Writes an [`Frame::Enter`].
pub(super) fn enter(from: &str, room: &RoomId, entry: u64) -> String {
    Writer::new()
        .string("type", "enter")
        .string("from", from)
        .raw("room", room.as_json())
        .raw("entry", &entry.to_string())
        .finish()
}

/// Writes everything but the stamp of a link.
impl Body<'_> {
    pub(super) fn write(&self, from: &str, link: u64, count: u64) -> String {
        let mut writer = Writer::new();
        writer
            .string("type", self.kind())
            .string("from", from)
            .raw("link", &link.to_string())
            .raw("number", &count.to_string());
        match self {
            Self::Beat | Self::Sync | Self::Begin | Self::End | Self::Unknown => {}
            Self::Room(roster) => write_roster(&mut writer, roster),
            Self::Join { room, member } => write_member(writer.raw("room", room.as_json()), member),
            Self::Leave { room, sid } => drop(writer.raw("room", room.as_json()).string("sid", sid)),
            Self::Gone { sid, remember: false } => drop(writer.string("sid", sid).raw("forget", "true")),
            Self::Gone { sid, .. } | Self::Kick { sid } => drop(writer.string("sid", sid)),
            Self::Session { sid, proof } => drop(writer.string("sid", sid).string("proof", &proof.to_hex())),
            // The signal itself is on a line of its own.
            Self::Signal { event, to, .. } => drop(writer.string("event", event).string("to", to)),
            Self::Broadcast { event, .. } => drop(writer.string("event", event)),
            Self::Response { to, sid, id, room, claim } => {
                writer.string("to", to).string("sid", sid).optional("id", id.as_deref());
                if let Some(room) = room {
                    writer.raw("room", room.as_json());
                }
                write_claim(&mut writer, claim.as_ref());
            }
        }
        writer.finish()
    }

    const fn kind(&self) -> &'static str {
        match self {
            Self::Beat => "beat",
            Self::Sync => "sync",
            Self::Begin => "begin",
            Self::End => "end",
            Self::Room(_) => "room",
            Self::Join { .. } => "join",
            Self::Leave { .. } => "leave",
            Self::Gone { .. } => "gone",
            Self::Kick { .. } => "kick",
            Self::Session { .. } => "session",
            Self::Signal { .. } => "signal",
            Self::Broadcast { .. } => "broadcast",
            Self::Response { .. } => "response",
            Self::Unknown => "unknown",
        }
    }
}

fn write_roster(writer: &mut Writer, roster: &Roster<'_>) {
    writer.raw("room", roster.room.as_json()).raw("entry", &roster.entry.to_string());
    if let Some(entry) = roster.want {
        writer.raw("want", &entry.to_string());
    }
    if roster.knows {
        writer.raw("knows", "true");
    }
    if roster.part > 0 {
        writer.number("part", roster.part);
    }
    if roster.more {
        writer.raw("more", "true");
    }
    let member = |member| {
        let mut writer = Writer::new();
        write_member(&mut writer, member);
        writer.finish()
    };
    writer.raw("members", &json::join(&mut roster.members.iter().map(member)));
}

fn write_member(writer: &mut Writer, member: &Member<'_>) {
    writer.string("sid", &member.sid).optional("id", member.id.as_deref());
    if let Some(proof) = &member.proof {
        writer.string("proof", &proof.to_hex());
    }
    write_claim(writer.raw("joined", &member.joined.to_string()), member.claim.as_ref());
}

fn write_claim(writer: &mut Writer, claim: Option<&Claim>) {
    let Some(claim) = claim else { return };
    writer.string("prev", &claim.sid);
    if let Some(proof) = &claim.proof {
        writer.string("claim", &proof.to_hex());
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn member<'a>() -> Member<'a> {
        let claim = Claim { sid: "old".into(), proof: Some(Proof::of("secret")) };
        let id = Some("{\"a\":\n[1]}".into());
        Member { sid: "A".into(), id, proof: Some(Proof::of("x")), joined: 1 << 50, claim: Some(claim) }
    }

    #[test]
    fn what_is_written_is_read_again() {
        let room = RoomId::numbered(5);
        let roster = |part, want| {
            let members = vec![member(), Member { id: None, proof: None, claim: None, ..member() }];
            Body::Room(Roster { room: room.clone(), entry: 3, want, knows: part == 0, part, more: part == 0, members })
        };
        let bodies = [
            Body::Beat,
            Body::Sync,
            Body::Begin,
            Body::End,
            roster(0, Some(7)),
            roster(1, None),
            Body::Join { room: RoomId::named("5").unwrap(), member: member() },
            Body::Leave { room: room.clone(), sid: "A".into() },
            Body::Gone { sid: "A".into(), remember: true },
            Body::Gone { sid: "A".into(), remember: false },
            Body::Kick { sid: "A".into() },
            Body::Session { sid: "A".into(), proof: Proof::of("x") },
            Body::Response { to: "B".into(), sid: "A".into(), id: None, room: Some(room), claim: member().claim },
        ];
        for body in bodies {
            let text = body.write("n1", u64::MAX, 9);
            let (from, frame) = read(&text).unwrap();
            assert_eq!((&*from, frame), ("n1", Frame::Link { link: u64::MAX, number: 9, body }), "{text}");
        }
        let text = enter("n1", &RoomId::numbered(5), 4);
        assert_eq!(text, r#"{"type":"enter","from":"n1","room":5,"entry":4}"#);
        assert_eq!(read(&text).unwrap().1, Frame::Enter { room: RoomId::numbered(5), entry: 4 });
    }

    #[test]
    fn what_is_not_known_is_passed_over() {
        let read = |text| read(text).map(|(_, frame)| frame);
        let later = r#"{"type":"paint","from":"n","link":1,"number":2,"colour":"red"}"#;
        assert_eq!(read(later), Some(Frame::Link { link: 1, number: 2, body: Body::Unknown }));
        let more = r#"{"type":"gone","from":"n","link":1,"number":2,"sid":"A","why":[{}]}"#;
        let gone = Body::Gone { sid: "A".into(), remember: true };
        assert_eq!(read(more), Some(Frame::Link { link: 1, number: 2, body: gone }));
        for bad in [
            "",
            "x",
            "[]",
            r#"{"type":"beat","link":1,"number":1}"#,
            r#"{"type":"beat","from":"","link":1,"number":1}"#,
            r#"{"type":"beat","from":"n","link":-1,"number":1}"#,
            r#"{"type":"gone","from":"n","link":1,"number":1}"#,
            r#"{"type":"enter","from":"n","room":"","entry":1}"#,
            r#"{"type":"signal","from":"n","link":1,"number":1,"event":"sid","to":"A"}"#,
            "{\"type\":\"signal\",\"from\":\"n\",\"link\":1,\"number\":1,\"event\":\"offer\",\"to\":\"A\"}\n[]",
        ] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn nothing_panics(text in ".{0,200}", kind in "[a-z]{1,8}", at in 0..60_usize) {
            read(&text);
            let mut frame = Body::Join { room: RoomId::numbered(1), member: member() }.write("n", 1, 1);
            if frame.is_char_boundary(at) {
                frame.insert_str(at, &text);
            }
            read(&frame);
            read(&format!("{{\"type\":\"{kind}\",\"from\":\"n\",\"link\":1,\"number\":1}}"));
        }
    }
}
