//! A server's clock that is set: ahead for a moment, or back.

use pocket_core::{Env, Hlc, Timestamp};

use super::*;

const TEN_YEARS: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);

/// What a welcome tells of the time.
async fn told(world: &World, number: u8) -> Timestamp {
    Writer::join(&world.engine, number).await.attached.time
}

/// The hybrid clock of a log only rises, and was told as the time: by one moment in which a server's clock was ten years
/// ahead, devices took what expires for over, for ten years.
#[tokio::test]
async fn a_clock_that_was_ahead_for_a_moment_is_not_told_behind_it() {
    let world = World::memory();
    let mut writer = Writer::join(&world.engine, 1).await;
    let then = world.env.now();
    world.env.pass(TEN_YEARS);
    let ahead = world.env.now();
    assert_eq!(told(&world, 2).await, ahead);
    world.write(&mut writer, &["x"]).await;
    world.env.set(then);
    assert_eq!(told(&world, 3).await, then);
    let world = world.restart().await;
    assert_eq!(told(&world, 4).await, then);

    // What was taken while it was ahead may be followed: order is the hybrid clock's, which does not go back.
    let mut writer = Writer::join(&world.engine, 5).await;
    let mut push = writer.push(&[("y", None)]);
    for change in push.mutations.iter_mut().flatten() {
        if let MutationContent::Changes(changes) = &mut change.content {
            changes[0].rev.hlc = Hlc::from_time(ahead);
        }
    }
    let outcomes = world.commit(push).await;
    assert!(outcomes.iter().all(is_applied), "{outcomes:?}");
}

/// A deletion that a clock ten years ahead had stamped held up all deletions behind it, for ten years.
#[tokio::test]
async fn deletions_of_a_clock_that_was_ahead_are_forgotten_with_the_next_one_behind_them() {
    let world = World::memory();
    let mut writer = Writer::join(&world.engine, 1).await;
    world.write(&mut writer, &["a", "b", "c", "d", "e"]).await;
    world.delete(&mut writer, &["a"]).await;
    let then = world.env.now();
    world.env.pass(TEN_YEARS);
    world.delete(&mut writer, &["b", "c"]).await;
    world.env.set(then);
    let days = |days| Retention::age(days * DAY).clients(None);
    world.env.pass(2 * DAY);
    // Only what is known to be old goes: nobody can tell yet how old those are.
    let compacted = world.compact(days(1)).await;
    assert_eq!((compacted.tombstones, compacted.horizon), (1, Seq::new(6)));
    world.delete(&mut writer, &["d"]).await;
    assert_eq!(world.compact(days(1)).await.tombstones, 0);
    world.env.pass(DAY);
    world.delete(&mut writer, &["e"]).await;
    // Each is as old as the next one whose time can be true.
    let compacted = world.compact(days(1)).await;
    assert_eq!((compacted.tombstones, compacted.horizon), (3, Seq::new(9)));
    assert_eq!(world.compact(days(1)).await.tombstones, 0, "one is young");
}

/// More of them than one look takes in.
#[tokio::test]
async fn very_many_deletions_of_a_clock_that_was_ahead_are_forgotten_too() {
    const MANY: usize = 5_000;
    let world = World::memory();
    let mut writer = Writer::join(&world.engine, 1).await;
    let names: Vec<String> = (0..MANY).map(|number| format!("d{number}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let then = world.env.now();
    world.env.pass(TEN_YEARS);
    for names in names.chunks(500) {
        let outcomes = world.commit(writer.push_deletions(names)).await;
        assert!(outcomes.iter().all(is_applied));
    }
    world.env.set(then);
    let retention = Retention::age(DAY).clients(None);
    assert_eq!(world.compact(retention).await.tombstones, 0);
    world.delete(&mut writer, &["last"]).await;
    world.env.pass(DAY);
    assert_eq!(world.compact(retention).await.tombstones, MANY + 1);
}

/// A machine that begins without a battery for its clock is in 1970 until somebody tells it the time.
#[tokio::test]
async fn a_clock_that_is_set_back_forgets_nothing_too_early_and_later_what_is_old() {
    let world = World::memory();
    let mut writer = Writer::join(&world.engine, 1).await;
    world.write(&mut writer, &["a", "b"]).await;
    world.delete(&mut writer, &["a"]).await;
    let retention = Retention::age(30 * DAY);
    let then = world.env.now();
    world.env.set(Timestamp::from_millis(0));
    let compacted = world.compact(retention).await;
    assert_eq!((compacted.tombstones, compacted.clients), (0, 0));
    assert_eq!(told(&world, 2).await, Timestamp::from_millis(0));
    world.env.set(then);
    world.env.pass(DAY);
    assert_eq!(world.compact(retention).await.tombstones, 0);
    world.env.pass(30 * DAY);
    assert_eq!(world.compact(retention).await.tombstones, 1);
}
