//! Clients that are forgotten.

use super::*;

#[tokio::test]
async fn clients_that_never_came_back_are_forgotten_and_those_that_are_connected_are_not() {
    for world in World::everywhere() {
        let retention = Retention::default();
        let mut writer = Writer::join(&world.engine, 1).await;
        Writer::join(&world.engine, 2).await;
        Writer::join(&world.engine, 3).await;
        world.write(&mut writer, &["a"]).await;
        world.env.pass(50 * DAY);
        // The second one only reads; the server says that it is there. The first one writes.
        let connected = [client(2), client(9)];
        let (ns, engine) = (ns(), &world.engine);
        engine.note_seen(&ns, &connected, 15 * DAY).await.unwrap();
        world.write(&mut writer, &["b"]).await;
        world.env.pass(10 * DAY);
        let forgot = world.compact(retention).await;
        assert_eq!(forgot.clients, 1);
        let late = writer.push(&[("c", None)]);
        world.env.pass(50 * DAY);
        assert_eq!(world.compact(retention).await.clients, 2);
        // A push of one that is forgotten is not taken for one that was never sent.
        let answer = world.engine.commit(&ns, &[late]).await.unwrap();
        assert_eq!(answer.answers[0].refusal, Some(Refusal::Replaced));
        assert_eq!(answer.head, Seq::new(2));
        let request = AttachRequest {
            user: "ann".into(),
            client: client(1),
            presented: Some(writer.session),
            unless_new: None,
        };
        let attached = world.engine.attach(&ns, &request).await.unwrap();
        assert!(attached.is_new, "it is told, and takes another id");
    }
}

#[tokio::test]
async fn many_clients_are_forgotten_a_batch_at_a_time() {
    let world = World::memory();
    for number in 0..600_u32 {
        let mut bytes = [0; 16];
        bytes[..4].copy_from_slice(&number.to_be_bytes());
        let request = AttachRequest {
            user: "ann".into(),
            client: ClientId::from_bytes(bytes),
            presented: None,
            unless_new: None,
        };
        world.engine.attach(&ns(), &request).await.unwrap();
        if number == 299 {
            world.env.pass(61 * DAY);
        }
    }
    let first = world.engine.compact(&ns(), &Retention::default()).await;
    let first = first.unwrap();
    assert!(first.more && first.clients == 256, "{first:?}");
    assert_eq!(world.compact(Retention::default()).await.clients, 44);
    world.env.pass(61 * DAY);
    assert_eq!(world.compact(Retention::default()).await.clients, 300);
}
