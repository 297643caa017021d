//! Several hubs over a broker that delays, loses, repeats and goes away: seeded, without I/O and without a clock.
//!
//! `SEEDS=5000 cargo test --release -p rtc-cafe-signaller --test nodes` runs more; `SEED=n` only that one, with a trace.
#![allow(clippy::unwrap_used, reason = "a test")]

mod cluster;

use std::{env, ops::Range, time::Duration};

use cluster::{Faults, World};
use rtc_cafe_signaller::hub::{Hub, HubConfig, Permit};
use rtc_cafe_wire::ApiVersion;

fn seeds() -> Range<u64> {
    let number = |name| env::var(name).ok().and_then(|text| text.parse().ok());
    match number("SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("SEEDS").unwrap_or(300),
    }
}

fn run(nodes: usize, faults: Faults) {
    for seed in seeds() {
        let mut world = World::new(seed, nodes, faults);
        for _ in 0..120 {
            world.step();
        }
        world.settle();
        world.check();
        world.check_that_nothing_is_left();
    }
}

#[test]
fn two_calm_nodes_are_as_one() {
    run(2, Faults::default());
}

#[test]
fn three_calm_nodes_are_as_one() {
    run(3, Faults::default());
}

#[test]
fn channels_that_keep_no_order_among_each_other() {
    run(3, Faults { channels_apart: true, ..Faults::default() });
}

#[test]
fn frames_that_are_lost_or_repeated() {
    run(3, Faults { loss: 20, repeats: 20, channels_apart: true, ..Faults::default() });
}

#[test]
fn a_broker_that_goes_away() {
    run(3, Faults { outages: true, ..Faults::default() });
}

#[test]
fn nodes_that_die() {
    run(4, Faults { deaths: true, ..Faults::default() });
}

#[test]
fn everything_at_once() {
    run(4, Faults { loss: 10, repeats: 10, channels_apart: true, outages: true, deaths: true, ..Faults::default() });
}

#[test]
fn frames_that_are_damaged_harm_nobody() {
    for seed in seeds() {
        let mut world = World::new(seed, 3, Faults { damage: 300, repeats: 20, outages: true, ..Faults::default() });
        for _ in 0..120 {
            world.step();
        }
        world.check_that_nothing_is_left();
    }
}

#[test]
fn who_writes_to_the_broker_harms_nobody_for_long() {
    run(3, Faults { forgery: true, repeats: 20, ..Faults::default() });
}

#[test]
fn a_dead_node_is_gone_within_thirty_seconds() {
    let mut world = World::new(1, 2, Faults::default());
    let (a, b) = (world.client(0), world.client(1));
    world.join(a, "1");
    world.join(b, "1");
    world.deliver();
    world.run(Duration::from_secs(100));
    world.forget_events();
    world.kill(1);
    world.run(Duration::from_secs(12));
    assert_eq!(world.events(a), [""; 0], "a pause is no death");
    world.run(Duration::from_secs(14));
    assert_eq!(world.events(a), [format!("peer-disconnection {{\"sid\":\"{}\"}}", world.sid(b))]);
}

#[test]
fn a_short_outage_is_not_noticed() {
    let mut world = World::new(1, 2, Faults::default());
    let (a, b) = (world.client(0), world.client(1));
    world.join(a, "1");
    world.join(b, "1");
    world.deliver();
    world.forget_events();
    world.broker(0, false);
    world.broker(1, false);
    world.run(Duration::from_secs(20));
    world.broker(1, true);
    world.run(Duration::from_secs(3));
    world.broker(0, true);
    world.run(Duration::from_secs(200));
    assert_eq!(world.events(a), [""; 0]);
    assert_eq!(world.events(b), [""; 0]);
}

#[test]
fn after_a_long_outage_everybody_is_introduced_once() {
    for both in [false, true] {
        let mut world = World::new(1, 2, Faults::default());
        let (a, b) = (world.client(0), world.client(1));
        world.join(a, "1");
        world.join(b, "1");
        world.deliver();
        world.broker(0, false);
        if both {
            world.broker(1, false);
        }
        world.run(Duration::from_secs(60));
        let c = world.client(0);
        world.join(c, "1");
        world.forget_events();
        world.broker(0, true);
        if both {
            world.run(Duration::from_secs(5));
            world.broker(1, true);
        }
        world.run(Duration::from_secs(200));
        let count = |client, name: &str| world.events(client).iter().filter(|event| event.starts_with(name)).count();
        let introduced = |client| count(client, "acquire-peers {") + count(client, "acquire-peers-response {");
        assert_eq!([introduced(a), introduced(b), introduced(c)], [1, 2, 1], "both away: {both}");
        assert_eq!([a, b, c].map(|client| count(client, "peer-disconnection")), [0; 3]);
    }
}

#[test]
fn a_session_moves_to_another_node_and_is_not_reported_gone() {
    for dies in [false, true] {
        let mut world = World::new(1, 3, Faults::default());
        let (a, c) = (world.client(0), world.client(2));
        let old = world.client(1);
        for client in [a, c, old] {
            world.join(client, "1");
        }
        world.deliver();
        world.forget_events();
        if dies {
            world.kill(1);
        }
        let new = world.move_to(old, 0);
        world.run(Duration::from_secs(100));
        for member in [a, c] {
            let announced = format!("\"sid\":\"{}\",\"prevSid\":\"{}\"", world.sid(new), world.sid(old));
            let events = world.events(member);
            assert!(events.last().unwrap().contains(&announced), "{events:?}");
            // A third node may hear of the end before the move, where the broker keeps no order between two others.
            assert!(events.len() == 1 || (member == c && !dies), "{events:?}");
        }
        assert!(dies || world.was_closed(old), "the half-dead socket is closed on its own node");
    }
}

/// Clients, and the rooms in which they are.
type Members = Vec<(usize, &'static [&'static str])>;

/// Two nodes with members of room 1, of room 2 and of both, except of a room on a node, and a session in both on node 1.
fn two_rooms(seed: u64, config: HubConfig, except: Option<(usize, &str)>) -> (World, Members, usize) {
    let mut world = World::with(seed, 2, Faults::default(), config);
    let mut members = Vec::new();
    for node in [0, 1] {
        for rooms in [&["1"][..], &["2"], &["1", "2"]] {
            if except.is_some_and(|(without, room)| without == node && rooms.contains(&room)) {
                continue;
            }
            let member = world.client(node);
            rooms.iter().for_each(|room| world.join(member, room));
            members.push((member, rooms));
        }
    }
    let old = world.client(1);
    world.join(old, "1");
    world.join(old, "2");
    world.deliver();
    world.forget_events();
    (world, members, old)
}

#[test]
fn who_moves_with_several_rooms_is_reported_gone_in_none() {
    let variants = [None, Some((0, "2")), Some((0, "1")), Some((1, "2")), Some((1, "1"))];
    for seed in seeds() {
        for at_once in [true, false] {
            let except = variants[usize::try_from(seed).unwrap() % variants.len()];
            let (mut world, members, old) = two_rooms(seed, HubConfig::default(), except);
            let new = world.come_to(old, 0);
            for room in ["1", "2"] {
                world.claim(new, old, room);
                if !at_once {
                    world.run(Duration::from_secs(2));
                    assert!(world.was_closed(old), "seed {seed}: its transport is of no use any more");
                }
            }
            world.run(Duration::from_secs(100));
            for (member, rooms) in members {
                let (new, old, events) = (world.sid(new), world.sid(old), world.events(member));
                assert_eq!(events.len(), rooms.len(), "seed {seed}: {member} in {rooms:?}: {events:?}");
                for room in rooms {
                    let announced = format!("\"sid\":\"{new}\",\"prevSid\":\"{old}\",\"room\":{room}");
                    let told = events.iter().any(|event| event.contains(&announced));
                    assert!(told, "seed {seed}: {member} in {room}: {events:?}");
                }
            }
            world.disconnect(new);
            world.check_that_nothing_is_left();
        }
    }
}

/// The rooms of each member who has heard that a session has ended.
fn who_misses(world: &World, members: &Members, old: usize) -> Vec<&'static [&'static str]> {
    let gone = format!("peer-disconnection {{\"sid\":\"{}\"}}", world.sid(old));
    let told = members.iter().filter(|(member, _)| world.events(*member).contains(&gone));
    told.map(|&(_, rooms)| rooms).collect()
}

#[test]
fn a_room_into_which_who_moves_does_not_come_back_reports_it_gone() {
    let missed: [&[&str]; 4] = [&["2"], &["1", "2"], &["2"], &["1", "2"]];
    let (mut world, members, old) = two_rooms(1, HubConfig::default(), None);
    let new = world.come_to(old, 0);
    world.claim(new, old, "1");
    world.run(Duration::from_secs(4));
    assert!(who_misses(&world, &members, old).is_empty());
    world.run(Duration::from_secs(2));
    assert_eq!(who_misses(&world, &members, old), missed);
    // It is remembered as any session that has ended.
    let thief = world.client(1);
    let claim = format!("{{\"room\":2,\"id\":\"thief\",\"prevSid\":\"{}\"}}", world.sid(old));
    world.send(thief, "join", &claim);
    assert!(world.events(members[4].0).last().unwrap().contains("\"prevSid\":null"));
    // A node that goes away says so at once.
    let (mut world, members, old) = two_rooms(1, HubConfig::default(), None);
    world.kept = Duration::ZERO;
    let new = world.come_to(old, 0);
    world.claim(new, old, "1");
    world.deliver();
    world.with_hub(1, Hub::end_moving);
    world.deliver();
    assert_eq!(who_misses(&world, &members, old), missed);
}

#[test]
fn rooms_are_kept_for_so_many_who_move_and_no_more() {
    let mut config = HubConfig::default();
    config.remembered_sessions = 2;
    let (mut world, members, first) = two_rooms(1, config, None);
    world.kept = Duration::ZERO;
    let moving = [first, world.client(1), world.client(1)];
    for &old in &moving[1..] {
        world.join(old, "1");
        world.join(old, "2");
    }
    world.deliver();
    for (at, old) in moving.into_iter().enumerate() {
        assert!(who_misses(&world, &members, first).is_empty(), "{at}");
        let new = world.come_to(old, 0);
        world.claim(new, old, "1");
        world.deliver();
    }
    assert_eq!(who_misses(&world, &members, first).len(), 4);
    assert!(moving[1..].iter().all(|&old| who_misses(&world, &members, old).is_empty()));
}

#[test]
fn who_is_back_before_its_old_session_is_heard_of_is_not_reported_gone() {
    for seed in seeds() {
        let mut world = World::new(seed, 2, Faults::default());
        let old = world.client(1);
        world.join(old, "1");
        world.deliver();
        // The node has nobody in the room, so it has yet to hear who is there on the other one.
        let member = world.client(0);
        world.join(member, "1");
        let new = world.move_to(old, 0);
        let late = world.client(0);
        world.join(late, "1");
        world.run(Duration::from_secs(100));
        let (new, old, late) = (world.sid(new), world.sid(old), world.sid(late));
        let announced: Vec<_> = world.events(member).iter().map(|event| (event.contains(old), event)).collect();
        assert_eq!(announced.len(), 2, "seed {seed}: {announced:?}");
        assert!(announced[0].1.contains(&format!("\"sid\":\"{new}\",\"prevSid\":\"{old}\"")), "{announced:?}");
        assert!(announced[1].1.contains(&format!("\"sid\":\"{late}\",\"prevSid\":null")), "{announced:?}");
        world.check();
    }
}

#[test]
fn who_has_moved_on_and_back_leaves_no_ghost() {
    for seed in seeds() {
        let mut world = World::new(seed, 2, Faults::default());
        let (member, first) = (world.client(0), world.client(0));
        let other = world.client(1);
        for client in [member, first, other] {
            world.join(client, "1");
        }
        world.deliver();
        world.forget_events();
        // Of the session in the middle, its members hear when another one has taken its place.
        let second = world.move_to(first, 1);
        let third = world.move_to(second, 0);
        world.run(Duration::from_secs(100));
        let events = world.events(member);
        let [first, second, third] = [first, second, third].map(|client| world.sid(client));
        assert_eq!(events.len(), 2, "seed {seed}: {events:?}");
        assert!(events[0].contains(&format!("\"sid\":\"{third}\",\"prevSid\":\"{second}\"")), "{events:?}");
        assert_eq!(events[1], format!("peer-disconnection {{\"sid\":\"{first}\"}}"));
        world.check();
    }
}

/// A room of so many members on nodes of one world.
fn small_room(nodes: usize, members: usize) -> World {
    let mut config = HubConfig::default();
    config.members_per_room = members;
    World::with(1, nodes, Faults::default(), config)
}

#[test]
fn a_member_of_a_full_room_may_move_to_another_node() {
    let mut world = small_room(2, 2);
    let (a, old) = (world.client(0), world.client(1));
    world.join(a, "1");
    world.join(old, "1");
    world.deliver();
    world.forget_events();
    let new = world.move_to(old, 0);
    assert!(world.events(a)[0].contains(&format!("\"prevSid\":\"{}\"", world.sid(old))), "{:?}", world.events(new));
    let late = world.client(0);
    world.join(late, "1");
    assert!(world.events(late)[0].contains("room-full"), "it has given up its seat: {:?}", world.events(late));
    world.send(late, "join", &format!("{{\"room\":1,\"prevSid\":\"{}\"}}", world.sid(old)));
    assert!(world.events(late)[1].contains("room-full"), "nobody else gets it: {:?}", world.events(late));
}

#[test]
fn who_has_moved_between_other_nodes_counts_once() {
    let mut world = small_room(3, 3);
    let (a, old) = (world.client(0), world.client(1));
    world.join(a, "1");
    world.join(old, "1");
    world.deliver();
    world.kill(1);
    world.move_to(old, 2);
    world.deliver();
    let (third, fourth) = (world.client(0), world.client(0));
    world.join(third, "1");
    world.join(fourth, "1");
    assert!(world.events(third).iter().all(|event| !event.starts_with("error")), "{:?}", world.events(third));
    assert!(world.events(fourth)[0].contains("room-full"), "{:?}", world.events(fourth));
}

#[test]
fn a_session_on_another_node_cannot_be_claimed_without_its_secret() {
    let mut world = World::new(1, 3, Faults::default());
    let (a, victim, c) = (world.client(0), world.client(1), world.client(2));
    for client in [a, victim, c] {
        world.join(client, "1");
    }
    world.deliver();
    world.forget_events();
    let sid = world.sid(victim).to_owned();
    for node in 0..3 {
        let thief = world.client(node);
        world.send(
            thief,
            "join",
            &format!("{{\"room\":1,\"id\":\"thief\",\"prevSid\":\"{sid}\",\"prevSession\":\"x\"}}"),
        );
        world.deliver();
    }
    for client in [a, victim, c] {
        let events = world.events(client);
        let announced: Vec<_> = events.iter().filter(|event| event.starts_with("acquire-peers {")).collect();
        assert_eq!(announced.len(), 3, "{events:?}");
        assert!(announced.iter().all(|event| event.contains("\"prevSid\":null")), "{events:?}");
    }
    assert!(!world.was_closed(victim));
}

#[test]
fn who_may_be_in_more_rooms_is_seen_in_all_of_them() {
    let mut world = World::new(1, 2, Faults::default());
    let clients = [world.client(0), world.client(1)];
    for (node, client) in clients.into_iter().enumerate() {
        let socket = world.socket(client);
        let mut permit = Permit::default();
        permit.rooms_per_socket = Some(200);
        world.with_hub(node, |hub, _| hub.permit(socket, permit));
        for room in 0..70 {
            world.join(client, &room.to_string());
        }
        world.deliver();
    }
    let [a, b] = clients.map(|client| world.events(client));
    let count = |events: &[String], name: &str| events.iter().filter(|event| event.starts_with(name)).count();
    assert_eq!((count(a, "acquire-peers {"), count(b, "acquire-peers-response {")), (70, 70));
    world.check();
}

/// So many sessions of one connection, or each of its own, come into room 1 of a node and end.
fn come_and_go(world: &mut World, node: usize, count: usize, on_one_connection: bool) {
    world.with_hub(node, |hub, now| {
        let connection = hub.open();
        for _ in 0..count {
            let socket = match on_one_connection {
                true => hub.connect_on(&connection, ApiVersion::V0_2),
                false => hub.connect(ApiVersion::V0_2),
            };
            hub.handle_event(now, socket, "join", "{\"room\":1}");
            hub.disconnect(now, socket);
        }
        hub.close(connection);
    });
    world.deliver();
}

#[test]
fn of_one_connection_on_another_node_four_ends_are_remembered() {
    let mut world = World::new(1, 2, Faults::default());
    let members = [world.client(0), world.client(1)];
    for member in members {
        world.join(member, "1");
    }
    world.deliver();
    come_and_go(&mut world, 1, 50, true);
    assert_eq!(world.remembered(0), 4);
}

#[test]
fn what_ends_on_one_node_does_not_push_out_what_ended_on_others() {
    let mut config = HubConfig::default();
    config.remembered_sessions = 3;
    let mut world = World::with(1, 3, Faults::default(), config);
    let members = [0, 1, 2].map(|node| world.client(node));
    let victims = [0, 1].map(|node| world.client(node));
    for client in members.into_iter().chain(victims) {
        world.join(client, "1");
    }
    world.deliver();
    victims.into_iter().for_each(|victim| world.disconnect(victim));
    world.deliver();
    come_and_go(&mut world, 2, 50, false);
    assert_eq!(world.remembered(0), 5, "one of its own, one of node 1, and three of node 2");
    for victim in victims {
        world.forget_events();
        let thief = world.client(0);
        let sid = world.sid(victim).to_owned();
        world.send(thief, "join", &format!("{{\"room\":1,\"id\":\"thief\",\"prevSid\":\"{sid}\"}}"));
        assert!(world.events(members[0])[0].contains("\"prevSid\":null"), "{:?}", world.events(members[0]));
    }
    world.run(Duration::from_secs(700));
    assert_eq!(world.remembered(0), 0, "it is too long ago");
}

#[test]
fn signals_reach_who_shares_a_room_and_nobody_else() {
    let mut world = World::new(1, 2, Faults::default());
    let (a, b, stranger) = (world.client(0), world.client(1), world.client(1));
    world.join(a, "5");
    world.join(b, "5");
    world.join(stranger, "\"5\"");
    world.deliver();
    world.forget_events();
    let (sid_a, sid_b, sid_stranger) =
        (world.sid(a).to_owned(), world.sid(b).to_owned(), world.sid(stranger).to_owned());
    let depth = 60;
    let deep = format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    world.send(a, "offer", &format!("{{\"recipient\":\"{sid_b}\",\"sid\":\"forged\",\n\"deep\":{deep}}}"));
    world.send(a, "offer", &format!("{{\"recipient\":\"{sid_stranger}\"}}"));
    world.deliver();
    let id = world.id(a);
    let relayed = format!("offer {{\"id\":{id},\"sid\":\"{sid_a}\",\"recipient\":\"{sid_b}\",\"deep\":{deep}}}");
    assert_eq!(world.events(b), [relayed]);
    assert_eq!(world.events(stranger), [""; 0]);
    assert!(world.events(a)[0].contains("recipient-not-found"));
    world.leave(b, "5");
    world.deliver();
    world.forget_events();
    world.send(a, "offer", &format!("{{\"recipient\":\"{sid_b}\"}}"));
    assert!(world.events(a)[0].contains("recipient-not-found"), "{:?}", world.events(a));
}

#[test]
fn nothing_goes_to_nodes_without_a_member_of_the_room() {
    let mut world = World::new(1, 3, Faults::default());
    let (a, b, c) = (world.client(0), world.client(1), world.client(2));
    world.join(c, "2");
    world.deliver();
    let before = world.received(2);
    world.join(a, "1");
    world.join(b, "1");
    world.deliver();
    let to = world.sid(b).to_owned();
    for _ in 0..10 {
        world.send(a, "offer", &format!("{{\"recipient\":\"{to}\"}}"));
    }
    world.leave(b, "1");
    world.run(Duration::from_secs(200));
    assert_eq!(world.received(2), before);
    // And no more to one that has left.
    let before = world.received(1);
    let d = world.client(0);
    world.join(d, "1");
    world.run(Duration::from_secs(200));
    assert_eq!(world.received(1), before);
}

#[test]
fn large_rooms_are_told_in_parts() {
    let mut world = World::new(1, 2, Faults::default());
    let many: Vec<_> = (0..600).map(|_| world.client(0)).collect();
    for &client in &many {
        world.join(client, "1");
    }
    world.run(Duration::from_secs(2));
    let late = world.client(1);
    world.join(late, "1");
    world.deliver();
    for &client in &many {
        assert_eq!(world.events(client).iter().filter(|event| event.contains(world.sid(late))).count(), 1);
    }
    assert_eq!(world.events(late).iter().filter(|event| event.starts_with("acquire-peers-response")).count(), 600);
    world.forget_events();
    world.broker(0, false);
    world.broker(0, true);
    world.run(Duration::from_secs(100));
    assert_eq!(world.events(late), [""; 0]);
}
