//! The lines, by hand and by chance.

use proptest::prelude::*;

use super::*;

fn origin(number: u8) -> Origin {
    Origin::of(IpAddr::from([10, 0, 0, number]))
}

fn queue(places: usize, waiting: usize) -> Queue<(u8, u32)> {
    Queue::new(QueueBounds { places, waiting })
}

/// A queue whose one place is taken.
fn busy(waiting: usize) -> Queue<(u8, u32)> {
    let mut queue = queue(1, waiting);
    assert!(matches!(queue.enter(origin(0), (0, 0)), Entrance::Now(_)));
    queue
}

fn waits(queue: &mut Queue<(u8, u32)>, address: u8, number: u32) -> Ticket {
    match queue.enter(origin(address), (address, number)) {
        Entrance::Later { ticket, displaced: None } => ticket,
        other => panic!("{address} {number}: {other:?}"),
    }
}

fn order(queue: &mut Queue<(u8, u32)>) -> Vec<(u8, u32)> {
    std::iter::from_fn(|| queue.next()).collect()
}

#[test]
fn addresses_take_turns_however_many_wait_behind_one() {
    let mut queue = busy(100);
    for number in 0..4 {
        waits(&mut queue, 1, number);
    }
    waits(&mut queue, 2, 0);
    waits(&mut queue, 3, 0);
    waits(&mut queue, 2, 1);
    assert_eq!(order(&mut queue), [(1, 0), (2, 0), (3, 0), (1, 1), (2, 1), (1, 2), (1, 3)]);
}

#[test]
fn who_comes_again_after_its_turn_waits_behind_the_others() {
    let mut queue = busy(100);
    waits(&mut queue, 1, 0);
    waits(&mut queue, 2, 0);
    assert_eq!(queue.next(), Some((1, 0)));
    waits(&mut queue, 1, 1);
    assert_eq!(order(&mut queue), [(2, 0), (1, 1)]);
}

#[test]
fn who_goes_away_frees_its_room_and_holds_up_nobody() {
    let mut queue = busy(3);
    let gone = [waits(&mut queue, 1, 0), waits(&mut queue, 1, 1)];
    waits(&mut queue, 2, 0);
    for ticket in gone {
        queue.leave(origin(1), ticket);
        queue.leave(origin(1), ticket);
    }
    assert_eq!(queue.waiting(), 1);
    waits(&mut queue, 1, 2);
    waits(&mut queue, 1, 3);
    assert_eq!(order(&mut queue), [(2, 0), (1, 2), (1, 3)]);
}

#[test]
fn the_longest_line_gives_way_where_there_is_no_room() {
    let mut queue = busy(4);
    for number in 0..4 {
        waits(&mut queue, 1, number);
    }
    assert!(matches!(queue.enter(origin(1), (1, 4)), Entrance::Full((1, 4))));
    for number in 0..2 {
        match queue.enter(origin(2), (2, number)) {
            Entrance::Later { displaced: Some((1, gone)), .. } => assert_eq!(gone, 3 - number),
            other => panic!("{other:?}"),
        }
    }
    assert!(matches!(queue.enter(origin(2), (2, 2)), Entrance::Full(_)), "the lines are equal now");
    assert!(matches!(queue.enter(origin(3), (3, 0)), Entrance::Later { displaced: Some(_), .. }));
    assert_eq!(queue.waiting(), 4);
}

#[test]
fn neighbours_of_one_ipv6_network_share_a_line() {
    let of = |text: &str| Origin::of(text.parse().unwrap());
    assert_eq!(of("2001:db8:1:2::1"), of("2001:db8:1:2:ffff::9"));
    assert_ne!(of("2001:db8:1:2::1"), of("2001:db8:1:3::1"));
    assert_eq!(of("::ffff:10.0.0.1"), of("10.0.0.1"));
    assert_ne!(of("10.0.0.1"), of("10.0.0.2"));
}

#[derive(Clone, Debug)]
enum Act {
    Enter(u8),
    Done,
    Leave(prop::sample::Index),
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        4 => (0..6_u8).prop_map(Act::Enter),
        2 => Just(Act::Done),
        1 => any::<prop::sample::Index>().prop_map(Act::Leave),
    ]
}

proptest! {
    /// Against a plain list of who waits: bounds hold, nobody waits while there is a place, nobody is lost or served
    /// twice, and nobody is passed over by more than one of each other address.
    #[test]
    fn nobody_starves_and_the_bounds_hold(
        places in 1..4_usize,
        room in 0..12_usize,
        acts in prop::collection::vec(act(), 0..200),
    ) {
        let mut queue = queue(places, room);
        let mut under_way = 0;
        // Who waits, and who of the other addresses got a place meanwhile.
        let mut waiting: Vec<(u8, u32, Ticket, Vec<u8>)> = Vec::new();
        for (number, act) in (0_u32..).zip(acts) {
            match act {
                Act::Enter(address) => match queue.enter(origin(address), (address, number)) {
                    Entrance::Now(who) => {
                        prop_assert_eq!(who, (address, number));
                        under_way += 1;
                        prop_assert!(waiting.is_empty());
                    }
                    Entrance::Later { ticket, displaced } => {
                        prop_assert_eq!(under_way, places);
                        if let Some((address, number)) = displaced {
                            prop_assert_eq!(waiting.len(), room);
                            let at = waiting.iter().position(|who| (who.0, who.1) == (address, number));
                            prop_assert!(at.is_some());
                            waiting.remove(at.unwrap());
                        }
                        waiting.push((address, number, ticket, Vec::new()));
                    }
                    Entrance::Full(_) => prop_assert_eq!((under_way, waiting.len()), (places, room)),
                },
                Act::Done if under_way > 0 => match queue.next() {
                    None => {
                        prop_assert!(waiting.is_empty());
                        under_way -= 1;
                    }
                    Some((address, number)) => {
                        let at = waiting.iter().position(|who| (who.0, who.1) == (address, number));
                        prop_assert!(at.is_some());
                        let before = waiting.iter().position(|who| who.0 == address);
                        prop_assert_eq!(at, before, "first come within an address");
                        waiting.remove(at.unwrap());
                        // The first of each line sees each other address at most once before its own turn.
                        for other in 0..6 {
                            if let Some(first) = waiting.iter_mut().find(|who| who.0 == other && who.0 != address) {
                                prop_assert!(!first.3.contains(&address), "{} passed over twice", first.0);
                                first.3.push(address);
                            }
                        }
                    }
                },
                Act::Leave(index) if !waiting.is_empty() => {
                    let (address, _, ticket, _) = waiting.remove(index.index(waiting.len()));
                    queue.leave(origin(address), ticket);
                }
                Act::Done | Act::Leave(_) => {}
            }
            prop_assert_eq!(queue.waiting(), waiting.len());
            prop_assert!(waiting.len() <= room && under_way <= places);
            prop_assert_eq!(queue.turns.len(), queue.lines.len());
            prop_assert_eq!(queue.lengths.len(), queue.lines.len());
        }
    }
}
