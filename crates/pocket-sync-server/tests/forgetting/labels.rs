//! Labels that a record lost before the horizon.

use super::*;

/// Who holds the text of a document as a label may read it.
struct ByText;

impl Authorizer for ByText {
    fn authorize(&self, _: &Attempt<'_>) -> bool {
        true
    }

    fn audience(&self, document: &Document<'_>) -> Audience {
        let text = document.body.to_map().unwrap();
        Audience::labels([text.get("name").unwrap().as_str().unwrap()])
    }
}

#[tokio::test]
async fn labels_that_a_record_lost_before_the_horizon_leave_it_at_its_next_version() {
    for forgets in [false, true] {
        let world = World::memory();
        let rules = Rules::default().authorizer(Arc::new(ByText));
        let reader = |label: &str| {
            let access = Access::all("bob").label(label);
            Authority::new(ns(), access, client(9), &rules)
        };
        let mut writer = Writer::join(&world.engine, 1).await;
        let mut write = async |text: &str| {
            let base = writer.rev_of("x");
            let mut push = writer.push(&[("x", base)]);
            for change in push.mutations.iter_mut().flatten() {
                if let MutationContent::Changes(changes) = &mut change.content {
                    changes[0].kind = ChangeKind::Put(common::body(text));
                }
            }
            let mut access = Access::all("ann");
            for label in ["red", "blue", "green"] {
                access = access.label(label);
            }
            push.authority = Authority::new(ns(), access, client(1), &rules);
            let outcomes = world.commit(push).await;
            assert!(outcomes.iter().all(is_applied), "{outcomes:?}");
        };
        let told = async |label: &str, after| {
            let request = ReadRequest {
                authority: reader(label),
                ..everything(after)
            };
            let page = world.engine.changes(&ns(), &request).await.unwrap();
            (page.records.len(), page.removals.len())
        };
        write("red").await;
        write("blue").await;
        assert_eq!(told("red", 1).await, (0, 1));
        let mut other = Writer::join(&world.engine, 2).await;
        world.write(&mut other, &["y"]).await;
        world.delete(&mut other, &["y"]).await;
        world.env.pass(40 * DAY);
        if forgets {
            let forgot = world.compact(Retention::default()).await;
            assert_eq!(forgot.horizon, Seq::new(4));
        }
        write("green").await;
        let red = if forgets { (0, 0) } else { (0, 1) };
        assert_eq!(told("red", 1).await, red, "nobody may read on from there");
        assert_eq!(told("blue", 4).await, (0, 1));
        assert_eq!(told("green", 4).await, (1, 0));
    }
}
