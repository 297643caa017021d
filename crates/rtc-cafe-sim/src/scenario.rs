//! Random lives of a few rooms: people come, talk, lose the server, leave.
//!
//! In a calm scenario nothing goes wrong but that everybody comes at the same moment, so it has to settle quickly and
//! without an error. In a troubled one connections to the server break, the server restarts, and machines die.

use std::time::Duration;

use rtc_cafe_core::{Intake, Limits, Phase, RoomId};

use crate::{NodeId, World};

/// A random scenario, wholly given by its seed.
#[derive(Debug, Clone, Copy)]
pub struct Scenario {
    seed: u64,
}

/// How long there is trouble, and how long the rooms have to settle afterwards, in milliseconds.
const TROUBLE: u64 = 30_000;
const AFTERMATH: u64 = 45_000;
/// How long it takes until it is known what has become of every message: a peer that is gone is given half a minute to
/// come back, and another one to tell what it has received.
const RECKONING: u64 = 300_000;
const DAY: u64 = 86_400_000;
/// How long newcomers have to be connected, and members to miss one who is gone, in milliseconds.
const WELCOME: u64 = 2500;
const FAREWELL: u64 = 12_000;

/// How long a page sleeps, within how much it is known to do so though nobody says anything, and within how much it is back.
const NAP: u64 = 30_000;
const NOTICED: u64 = 23_500;
const BACK: u64 = 6000;

/// How many are in the rooms whose server comes and goes, and how often it does.
const CROWD: usize = 40;
const STAMPEDES: usize = 6;

impl Scenario {
    /// The scenario of a seed.
    pub const fn new(seed: u64) -> Self {
        Self { seed }
    }

    #[cfg(test)]
    pub(crate) const fn seed(self) -> u64 {
        self.seed
    }

    /// Everybody joins at about the same moment; later somebody sleeps, and somebody leaves.
    ///
    /// # Panics
    /// If an invariant is violated, an error is told, or something takes too long.
    pub fn run_calm(self) -> World {
        let mut rng = fastrand::Rng::with_seed(self.seed ^ 0xca11);
        let mut world = World::new(self.seed);
        let nodes = rng.usize(2..=8);
        let rooms = rng.u64(1..=4);
        for _ in 0..nodes {
            world.add_node();
        }
        world.run_until(rng.u64(0..100));
        for _ in 0..nodes * 2 {
            world.join(rng.usize(0..nodes), room(rng.u64(0..rooms)));
            world.run_until(world.now() + rng.u64(0..40));
        }
        world.run_until(world.now() + WELCOME);
        world.assert_settled();
        for node in 0..nodes {
            world.send(node, 10, false);
        }
        world.run_until(world.now() + WELCOME);
        doze(&mut world, rng.usize(0..nodes), nodes);
        world.kill(rng.usize(0..nodes), rng.bool());
        world.run_until(world.now() + FAREWELL);
        world.assert_connected();
        world.run_until(world.now() + RECKONING);
        world.assert_settled();
        assert_eq!(world.errors(), Vec::<String>::new(), "an error was told, though nothing went wrong");
        world
    }

    /// People come and go, and much goes wrong.
    ///
    /// # Panics
    /// If an invariant is violated.
    pub fn run_troubled(self) -> World {
        let mut rng = fastrand::Rng::with_seed(self.seed ^ 0x5eed);
        let mut world = World::new(self.seed);
        let nodes = rng.usize(2..=7);
        let rooms = rng.u64(1..=3);
        // Some scenarios begin with everybody joining at the same moment.
        let at_once = rng.bool();
        for _ in 0..nodes {
            let node = world.add_node();
            for _ in 0..rng.u64(1..=2) {
                world.join(node, room(rng.u64(0..rooms)));
            }
            if !at_once {
                world.run_until(world.now() + rng.u64(0..800));
            }
        }
        // From none to much.
        let restlessness = rng.u64(0..12);
        while world.now() < TROUBLE {
            world.run_until(world.now() + rng.u64(1..600));
            Self::act(&mut world, &mut rng, nodes, rooms, restlessness);
        }
        world.run_until(TROUBLE + AFTERMATH);
        world.assert_connected();
        for node in 0..nodes {
            if world.is_alive(node) {
                world.send(node, 10, false);
            }
        }
        world.run_until(TROUBLE + RECKONING);
        world.assert_settled();
        world
    }

    /// Between some there are walls, around which only a relay leads. They go away one after the other, and some stay.
    ///
    /// # Panics
    /// If an invariant is violated, a relayed connection stays so without a wall, or paths are looked for too often.
    pub fn run_walled(self) -> World {
        let mut rng = fastrand::Rng::with_seed(self.seed ^ 0x3a11);
        let mut world = World::new(self.seed);
        // A day would be full of questions whether anybody is there.
        world.quiet = Duration::from_millis(DAY);
        let nodes = rng.usize(2..=5);
        let pairs: Vec<_> = (0..nodes).flat_map(|one| (0..one).map(move |other| (one, other))).collect();
        let walls: Vec<_> = pairs.into_iter().filter(|_| rng.bool()).collect();
        walls.iter().for_each(|&(one, other)| world.set_wall(one, other, true));
        for _ in 0..nodes {
            let node = world.add_node();
            world.join(node, room(0));
        }
        world.run_until(WELCOME);
        let relayed = |world: &World| walls.iter().filter(|&&(one, other)| world.are_relayed(one, other)).count();
        assert_eq!(relayed(&world), walls.len(), "who is behind a wall is connected through a relay");
        let gone: Vec<_> = walls.iter().filter(|_| rng.bool()).collect();
        for &&(one, other) in &gone {
            world.run_until(world.now() + rng.u64(0..60_000));
            world.set_wall(one, other, false);
            // Some talk all the time, so that no moment is quiet.
            let talks = rng.bool();
            for _ in 0..100 {
                if talks || rng.u64(0..10) == 0 {
                    world.send(rng.usize(0..nodes), 10, false);
                }
                world.run_until(world.now() + rng.u64(0..1000));
            }
        }
        // What took so long to become possible may take twice as long to be found.
        world.run_until(2 * world.now() + 120_000);
        for &(one, other) in &walls {
            let stands = !gone.contains(&&(one, other));
            assert_eq!(world.are_relayed(one, other), stands, "the path between {one} and {other}");
        }
        world.run_until(world.now() + DAY);
        for &(one, other) in &walls {
            let restarts = world.restarts(one, other) + world.restarts(other, one);
            assert!(restarts <= 40, "{one} and {other} looked for paths {restarts} times in a day");
        }
        world.assert_settled();
        assert_eq!(world.errors(), Vec::<String>::new(), "an error was told, though nothing went wrong");
        world
    }

    /// The network breaks in every way there is, the server comes and goes, machines move and sleep, and some pass on
    /// badly what they are to pass on. Then all is well again.
    ///
    /// # Panics
    /// If an invariant is violated.
    pub fn run_broken(self) -> World {
        let mut rng = fastrand::Rng::with_seed(self.seed ^ 0xb40c);
        let mut world = World::with_limits(self.seed, small_limits(&mut rng, true).unwrap_or_default());
        let nodes = rng.usize(2..=6);
        let rooms = rng.u64(1..=2);
        for _ in 0..nodes {
            let node = world.add_node();
            world.join(node, room(rng.u64(0..rooms)));
            if rng.u64(0..4) == 0 {
                world.corrupt(node);
            }
        }
        world.run_until(rng.u64(0..3000));
        while world.now() < 2 * TROUBLE {
            world.run_until(world.now() + rng.u64(1..1500));
            let (node, other) = (rng.usize(0..nodes), rng.usize(0..nodes));
            if !world.is_alive(node) {
                continue;
            }
            match rng.u64(0..100) {
                0..8 if node != other => world.cut(node, other, rng.bool()),
                8..16 => world.heal_between(node, other),
                16..18 => (0..nodes / 2).for_each(|one| (nodes / 2..nodes).for_each(|two| world.cut(one, two, true))),
                18..21 => world.heal(),
                21..23 => world.stop_server(rng.u64(100..20_000)),
                23..26 => world.drop_signalling(node),
                26..29 => world.set_reaches_server(node, rng.bool()),
                29..33 => world.move_node(node, rng.bool()),
                33..37 => {
                    let millis = if rng.bool() { rng.u64(100..15_000) } else { rng.u64(15_000..120_000) };
                    world.sleep(node, millis, rng.u64(0..3) == 0);
                }
                37..40 => world.break_connection(node, other),
                40..42 => world.change_network(node),
                42..44 => world.leave(node),
                44..48 => world.join(node, room(rng.u64(0..rooms))),
                48..54 => world.add_track(node, rng.u32(0..4), rng.usize(0..20)),
                54..57 => world.remove_track(node),
                57..65 => world.request_track(node),
                65..67 => world.send(node, 150_000, rng.bool()),
                68..71 => world.set_intake(node, intake(&mut rng)),
                67 if rng.u64(0..3) == 0 => world.kill(node, rng.bool()),
                _ => world.send(node, rng.usize(0..200), rng.bool()),
            }
        }
        reckon(world)
    }

    /// Two rooms of 40 members, some of them in both, whose server goes away and comes back with an empty memory, again and
    /// again, so that all of them come back at the same moment; meanwhile paths are lost, and members sleep, talk and die.
    ///
    /// # Panics
    /// If an invariant is violated.
    pub fn run_stampede(self) -> World {
        let mut rng = fastrand::Rng::with_seed(self.seed ^ 0x57a3);
        let mut world = World::new(self.seed);
        for _ in 0..CROWD {
            let node = world.add_node();
            world.join(node, room(rng.u64(0..2)));
            if rng.u64(0..8) == 0 {
                world.join(node, room(rng.u64(0..2)));
            }
        }
        world.run_until(WELCOME);
        world.assert_connected();
        for _ in 0..STAMPEDES {
            world.stop_server(rng.u64(100..20_000));
            let until = world.now() + rng.u64(2000..25_000);
            while world.now() < until {
                world.run_until(world.now() + rng.u64(1..300));
                let (node, other) = (rng.usize(0..CROWD), rng.usize(0..CROWD));
                if !world.is_alive(node) || node == other {
                    continue;
                }
                match rng.u64(0..100) {
                    0..15 => world.cut(node, other, rng.bool()),
                    15..20 => world.heal(),
                    20..30 => world.break_connection(node, other),
                    30..33 => world.move_node(node, rng.bool()),
                    33..36 => world.sleep(node, rng.u64(1000..60_000), rng.bool()),
                    36 => world.kill(node, rng.bool()),
                    _ => world.send(node, rng.usize(0..200), rng.bool()),
                }
            }
        }
        reckon(world)
    }

    /// Applications that read slower than others send, through short queues and long ones; nothing else goes wrong.
    ///
    /// # Panics
    /// If an invariant is violated, or an error is told.
    pub fn run_slow(self) -> World {
        let mut rng = fastrand::Rng::with_seed(self.seed ^ 0x510e);
        let mut world = World::with_limits(self.seed, small_limits(&mut rng, false).unwrap_or_default());
        let nodes = rng.usize(2..=5);
        for _ in 0..nodes {
            let node = world.add_node();
            world.join(node, room(0));
        }
        world.run_until(WELCOME);
        while world.now() < 2 * TROUBLE {
            world.run_until(world.now() + rng.u64(1..600));
            let node = rng.usize(0..nodes);
            match rng.u64(0..100) {
                0..15 => world.set_intake(node, intake(&mut rng)),
                15..20 => world.add_track(node, rng.u32(0..4), rng.usize(0..20)),
                20..23 => world.remove_track(node),
                23..28 => world.request_track(node),
                28..33 => world.send(node, 20_000, rng.bool()),
                _ => world.send(node, rng.usize(0..1500), rng.bool()),
            }
        }
        world = reckon(world);
        assert_eq!(world.errors(), Vec::<String>::new(), "an error was told, though nothing went wrong");
        world
    }

    /// Everybody offers tracks, requests them and gives them up, at random and at once; then nothing goes wrong in one
    /// half of the scenarios, and much in the other.
    ///
    /// # Panics
    /// If an invariant is violated.
    pub fn run_tracks(self) -> World {
        let mut rng = fastrand::Rng::with_seed(self.seed ^ 0x7ac5);
        let troubled = rng.bool();
        let limits = small_limits(&mut rng, troubled);
        let (message, description) = if limits.is_some() { (1500, 400) } else { (200, 10) };
        let mut world = World::with_limits(self.seed, limits.unwrap_or_default());
        let nodes = rng.usize(2..=5);
        for _ in 0..nodes {
            let node = world.add_node();
            world.join(node, room(1));
        }
        while world.now() < TROUBLE {
            // Bursts without a pause collide.
            if rng.u64(0..3) == 0 {
                world.run_until(world.now() + rng.u64(1..1000));
            }
            let node = rng.usize(0..nodes);
            if !world.is_alive(node) {
                continue;
            }
            match rng.u64(0..100) {
                0..20 => world.add_track(node, rng.u32(0..8), rng.usize(0..description)),
                20..30 => world.remove_track(node),
                30..40 => world.cancel_track(node),
                40..42 if troubled => world.drop_signalling(node),
                42..43 if troubled => world.restart_server(),
                43..44 if troubled && nodes > 3 => world.kill(node, rng.bool()),
                44..47 => world.send(node, rng.usize(0..message), rng.bool()),
                47..48 if message > 200 => world.send(node, 120_000, rng.bool()),
                48..50 => world.change_network(node),
                50..52 if troubled => world.break_connection(node, rng.usize(0..nodes)),
                52..56 if troubled => world.stall(node),
                // More at once than channels take.
                56..57 => (0..30).for_each(|_| world.add_track(node, rng.u32(0..8), rng.usize(0..description))),
                _ => world.request_track(node),
            }
        }
        world.run_until(TROUBLE + if troubled { AFTERMATH } else { WELCOME });
        world.assert_connected();
        if troubled {
            world.run_until(TROUBLE + RECKONING);
        }
        world.assert_settled();
        if !troubled {
            assert_eq!(world.errors(), Vec::<String>::new(), "an error was told, though nothing went wrong");
        }
        world
    }

    fn act(world: &mut World, rng: &mut fastrand::Rng, nodes: usize, rooms: u64, restlessness: u64) {
        let node: NodeId = rng.usize(0..nodes);
        if !world.is_alive(node) {
            return;
        }
        match rng.u64(0..100) {
            chance if chance < restlessness => world.drop_signalling(node),
            12..14 if restlessness > 6 => world.restart_server(),
            14..16 if restlessness > 3 => world.kill(node, rng.bool()),
            16..20 => world.join(node, room(rng.u64(0..rooms))),
            20..22 => world.send(node, 150_000, rng.bool()),
            _ => world.send(node, rng.usize(0..200), rng.bool()),
        }
    }
}

/// In some scenarios queues are so short that they fill up; in troubled ones even with what has to be told.
fn small_limits(rng: &mut fastrand::Rng, troubled: bool) -> Option<Limits> {
    let mut limits = Limits::default();
    limits.outgoing_bytes = if rng.bool() { 4000 } else { 200_000 };
    limits.high_water = 1500;
    limits.kept_bytes = if rng.bool() { 10_000 } else { 400_000 };
    limits.introductions = rng.usize(1..8);
    if troubled && rng.bool() {
        limits.control_bytes = 3000;
    }
    rng.bool().then_some(limits)
}

fn intake(rng: &mut fastrand::Rng) -> Intake {
    [Intake::All, Intake::Unconfirmed, Intake::Nothing][rng.usize(0..3)]
}

fn room(number: u64) -> RoomId {
    RoomId::numbered(i64::try_from(number).expect("few rooms"))
}

/// Has a page sleep while nobody says anything: its peers know, and keep it.
fn doze(world: &mut World, sleeper: NodeId, nodes: usize) {
    let knows = |world: &World, node| world.phase(node, sleeper);
    let companions: Vec<_> = (0..nodes).filter(|&node| knows(world, node) == Some(Phase::Open)).collect();
    let woken = world.now() + NAP;
    world.sleep(sleeper, NAP, false);
    world.run_until(world.now() + NOTICED);
    for &node in &companions {
        assert_eq!(knows(world, node), Some(Phase::Silent), "what {node} knows of {sleeper}, which sleeps");
    }
    world.run_until(woken + BACK);
    for node in companions {
        assert_eq!(knows(world, node), Some(Phase::Open), "what {node} knows of {sleeper}, which has woken up");
    }
    world.assert_connected();
}

/// Lets everything come back after much trouble, and checks what must hold then.
fn reckon(mut world: World) -> World {
    world.heal();
    world.read_all();
    let well = world.now().max(world.last_awakening());
    world.run_until(well + AFTERMATH);
    world.assert_connected();
    world.run_until(well + RECKONING);
    world.assert_settled();
    world
}
