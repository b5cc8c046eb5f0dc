//! What the tests of live queries share.

use futures_util::FutureExt;
use pocket_core::{Document, LiveQuery, LiveStep, Query, Value};

/// What of a list of documents is promised to be right: ids, order and content.
pub(crate) type Listed = Vec<(String, String)>;

pub(crate) fn listed(document: &Document) -> (String, String) {
    let map = document.to_map().unwrap();
    (
        document.id.to_string(),
        Value::Map(map).to_json_string().unwrap(),
    )
}

pub(crate) async fn fresh(query: &Query<Value>) -> Listed {
    let documents = query.documents().await.unwrap();
    documents.iter().map(listed).collect()
}

pub(crate) fn value(json: &str) -> Value {
    Value::from_json_str(json).unwrap()
}

/// A live query with a list that has nothing but the changes it told applied to it.
pub(crate) struct Follower {
    pub(crate) live: LiveQuery<Value>,
    pub(crate) list: Listed,
}

impl Follower {
    pub(crate) fn new(query: &Query<Value>) -> Self {
        Self {
            live: query.live(),
            list: Listed::new(),
        }
    }

    /// Takes in a step, and checks that its changes lead to its result.
    pub(crate) fn take(&mut self, step: &LiveStep<Value>) {
        for change in &step.changes {
            change.apply(&mut self.list, listed);
        }
        let result: Listed = step.result.documents().map(listed).collect();
        assert_eq!(self.list, result, "by {:?}", step.changes);
        assert_eq!(step.result.len(), self.list.len());
        assert_eq!(self.live.result().sequence(), step.sequence);
    }

    pub(crate) async fn step(&mut self) -> LiveStep<Value> {
        let step = self.live.next().await.unwrap().unwrap();
        self.take(&step);
        step
    }

    /// The next step, if there is one already. All of it is in memory, so nothing is waited for but commits.
    pub(crate) fn ready(&mut self) -> Option<LiveStep<Value>> {
        let step = self.live.next().now_or_never()?.unwrap().unwrap();
        self.take(&step);
        Some(step)
    }
}
