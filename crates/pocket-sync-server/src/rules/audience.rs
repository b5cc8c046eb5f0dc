//! Audiences, and what a record remembers of them.

use std::collections::{BTreeSet, VecDeque};
use std::fmt::Write;
use std::sync::Arc;

use pocket_core::Seq;
use sha2::{Digest, Sha256};

use super::RulesId;
use crate::auth::Access;

/// The labels of a document at the most.
pub(super) const LABELS: usize = 32;
/// The bytes of a label at the most.
pub(super) const LABEL_BYTES: usize = 256;
/// Labels that left and are remembered as they are.
const LEFT: usize = 64;
/// The label that everybody holds.
const EVERYONE: &str = "*";

/// Who may read a document: whoever holds one of its labels.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Audience(BTreeSet<Arc<str>>);

impl Audience {
    /// Everybody who may read the collection.
    pub fn everyone() -> Self {
        Self([EVERYONE.into()].into())
    }

    /// Nobody but the server.
    pub fn nobody() -> Self {
        Self(BTreeSet::new())
    }

    /// Whoever holds one of these labels: at most 32, each of 1 to 256 bytes.
    ///
    /// `user:NAME` is held by that user, `role:NAME` by who has that role; others come with the token.
    pub fn labels(labels: impl IntoIterator<Item = impl Into<Arc<str>>>) -> Self {
        Self(labels.into_iter().map(Into::into).collect())
    }

    /// Its labels, in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|label| &**label)
    }

    /// Why it cannot be stored, if so.
    pub(super) fn fault(&self) -> Option<String> {
        if self.0.len() > LABELS {
            return Some(format!(
                "the rules give it {} audience labels; {LABELS} is the most",
                self.0.len()
            ));
        }
        let is_own = |label: &Arc<str>| label.starts_with(BLIND) || label.starts_with(HASHED);
        if self.0.iter().any(is_own) {
            return Some(format!(
                "the rules give it an audience label that begins with `{BLIND}` or NUL, which are the server's own"
            ));
        }
        let fits = |label: &Arc<str>| !label.is_empty() && label.len() <= LABEL_BYTES;
        (!self.0.iter().all(fits)).then(|| {
            format!("the rules give it an audience label that has not 1 to {LABEL_BYTES} bytes")
        })
    }

    pub(super) fn is_held_by(&self, access: &Access) -> bool {
        self.0.iter().any(|label| holds(access, label))
    }
}

/// Who may read a document, as its record says it: the rules that gave the labels, and these. None without rules.
pub(crate) type Readership = Option<(RulesId, Audience)>;

/// What a record remembers of its audience. The default is one that was written without rules.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Marks(Option<Arc<Marked>>);

#[derive(Debug, PartialEq, Eq)]
struct Marked {
    audience: Audience,
    /// Labels it no longer has, each with the place at which it left.
    left: Vec<(Arc<str>, Seq)>,
    rules: RulesId,
}

impl Marks {
    /// The marks of a first version.
    pub(super) fn new(audience: Audience, rules: RulesId) -> Self {
        Self::with(audience, Vec::new(), rules)
    }

    fn with(audience: Audience, left: Vec<(Arc<str>, Seq)>, rules: RulesId) -> Self {
        Self(Some(Arc::new(Marked {
            audience,
            left,
            rules,
        })))
    }

    /// The marks of a version that replaces this one at `seq`.
    pub(super) fn next(&self, audience: Audience, rules: RulesId, seq: Seq) -> Self {
        let Some(before) = &self.0 else {
            return Self::new(audience, rules);
        };
        let stays = |label: &Arc<str>| audience.0.contains(label);
        let mut left: Vec<_> = before
            .left
            .iter()
            .filter(|(label, _)| !stays(label))
            .cloned()
            .collect();
        let leaving = before.audience.0.iter().filter(|label| !stays(label));
        left.extend(leaving.map(|label| (Arc::clone(label), seq)));
        Self::with(audience, bounded(left), rules)
    }

    /// The same, written at `seq` by somebody who may not read it.
    pub(super) fn written_blind(&self, writer: &str, seq: Seq) -> Self {
        let Some(marked) = &self.0 else {
            return self.clone();
        };
        let label = blind(writer);
        let others = marked.left.iter().filter(|(left, _)| **left != *label);
        let mut left: Vec<_> = others.cloned().collect();
        left.push((label.into(), seq));
        Self::with(marked.audience.clone(), bounded(left), marked.rules)
    }

    /// The same without labels that left at or before `horizon`: whoever stood before that reads everything again, and lets go
    /// of what is not shown to it.
    pub(crate) fn without_left(&self, horizon: Seq) -> Self {
        match &self.0 {
            Some(before) if before.left.iter().any(|(_, seq)| *seq <= horizon) => {
                let left = before.left.iter().filter(|(_, seq)| *seq > horizon);
                Self::with(
                    before.audience.clone(),
                    left.cloned().collect(),
                    before.rules,
                )
            }
            _ => self.clone(),
        }
    }

    /// Who may read it, if these rules said so.
    pub(super) fn audience(&self, rules: RulesId) -> Option<&Audience> {
        let marked = self.0.as_deref()?;
        (marked.rules == rules).then_some(&marked.audience)
    }

    /// Whether the reader held a label that left behind `after`.
    pub(super) fn left_behind(&self, access: &Access, after: Seq) -> bool {
        self.0.as_ref().is_some_and(|marked| {
            marked
                .left
                .iter()
                .any(|(label, seq)| *seq > after && holds(access, label))
        })
    }

    /// Who may read it.
    pub(crate) fn readership(&self) -> Readership {
        let marked = self.0.as_deref()?;
        Some((marked.rules, marked.audience.clone()))
    }

    /// Whether a user wrote it behind `after` without being able to read it.
    pub(super) fn was_written_blind(&self, user: &str, after: Seq) -> bool {
        let label = blind(user);
        let left = self.0.iter().flat_map(|marked| &marked.left);
        left.into_iter()
            .any(|(left, seq)| *seq > after && **left == *label)
    }

    /// What is stored: labels, those that left, and the rules.
    pub(crate) fn parts(&self) -> (Vec<String>, Vec<(String, Seq)>, Option<RulesId>) {
        let Some(marked) = self.0.as_deref() else {
            return (Vec::new(), Vec::new(), None);
        };
        let labels = marked.audience.0.iter().map(ToString::to_string).collect();
        let left = marked.left.iter();
        let left = left.map(|(label, seq)| (label.to_string(), *seq)).collect();
        (labels, left, Some(marked.rules))
    }

    /// What was stored.
    pub(crate) fn from_parts(
        labels: Vec<String>,
        left: Vec<(String, Seq)>,
        rules: Option<RulesId>,
    ) -> Self {
        let Some(rules) = rules else {
            return Self::default();
        };
        let left = left.into_iter().map(|(label, seq)| (label.into(), seq));
        Self::with(Audience::labels(labels), left.collect(), rules)
    }
}

/// Nobody holds a label that begins so: it stands among those that left, for a writer who may not read what he wrote.
const BLIND: &str = "wrote:";

fn blind(writer: &str) -> String {
    format!("{BLIND}{writer}")
}

/// The label of those that left longest ago, by their hashes.
const HASHED: char = '\0';
/// Hashes of labels that are remembered.
const HASHES: usize = 1_024;

/// The hexadecimal digits of a hash.
const DIGITS: usize = 32;

/// So long that nobody finds a name for himself whose hash is another label's: there is no key, as nothing that is stored
/// with a document is kept from its readers.
fn hash(label: &str) -> u128 {
    let digest: [u8; 32] = Sha256::digest(label.as_bytes()).into();
    let bytes = digest.iter().take(DIGITS / 2);
    bytes.fold(0, |hash, byte| hash << 8 | u128::from(*byte))
}

/// The hashes in a label of hashes; none of another one.
fn hashes(label: &str) -> Option<impl Iterator<Item = u128>> {
    let digits = label.strip_prefix(HASHED)?.as_bytes();
    let hash = |digits: &[u8]| u128::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok();
    Some(digits.chunks(DIGITS).filter_map(hash))
}

/// Of too many to remember as they are, those that left longest ago are remembered by their hashes: nobody is told of a
/// document who never held one of its labels. Of too many hashes, everybody is told.
///
/// Writers who may not read what they wrote are remembered apart, the latest of them.
fn bounded(left: Vec<(Arc<str>, Seq)>) -> Vec<(Arc<str>, Seq)> {
    let is_blind = |(label, _): &(Arc<str>, Seq)| label.starts_with(BLIND);
    let (mut blind, left): (Vec<_>, Vec<_>) = left.into_iter().partition(is_blind);
    blind.drain(..blind.len().saturating_sub(LEFT));
    let (mut everyone, mut hashed_at) = (Seq::ZERO, Seq::ZERO);
    let (mut hashed, mut named) = (BTreeSet::new(), VecDeque::new());
    for (label, seq) in left {
        if &*label == EVERYONE {
            everyone = everyone.max(seq);
        } else if let Some(hashes) = hashes(&label) {
            hashed.extend(hashes);
            hashed_at = hashed_at.max(seq);
        } else {
            named.push_back((label, seq));
        }
    }
    while named.len() > LEFT
        && let Some((label, seq)) = named.pop_front()
    {
        hashed.insert(hash(&label));
        hashed_at = hashed_at.max(seq);
    }
    if hashed.len() > HASHES {
        everyone = everyone.max(hashed_at);
    }
    let mut all = Vec::with_capacity(named.len() + blind.len() + 2);
    if everyone > Seq::ZERO {
        all.push((EVERYONE.into(), everyone));
    }
    if hashed_at > everyone {
        let mut label = String::with_capacity(1 + DIGITS * hashed.len());
        label.push(HASHED);
        for hash in &hashed {
            // Writing to a string does not fail.
            let _ = write!(label, "{hash:0DIGITS$x}");
        }
        all.push((label.into(), hashed_at));
    }
    all.extend(named);
    all.append(&mut blind);
    all
}

fn holds(access: &Access, label: &str) -> bool {
    if label == EVERYONE {
        return true;
    }
    if let Some(mut hashes) = hashes(label) {
        let own = access.all_labels().map(|label| hash(&label));
        let own: Vec<_> = own.collect();
        return hashes.any(|hash| own.contains(&hash));
    }
    !label.starts_with(BLIND) && access.holds(label)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: RulesId = [1; 8];

    fn left(marks: &Marks) -> Vec<(String, Seq)> {
        marks.parts().1
    }

    #[test]
    fn a_label_that_leaves_is_remembered_until_it_comes_back() {
        let marks = Marks::new(Audience::labels(["a", "b"]), RULES);
        let marks = marks.next(Audience::labels(["b"]), RULES, Seq::new(5));
        let marks = marks.next(Audience::labels(["c"]), RULES, Seq::new(7));
        assert_eq!(
            left(&marks),
            [("a".to_owned(), Seq::new(5)), ("b".to_owned(), Seq::new(7))]
        );
        let with = |label: &str| Access::all("x").label(label);
        assert!(marks.left_behind(&with("a"), Seq::new(4)));
        assert!(!marks.left_behind(&with("a"), Seq::new(5)));
        assert!(!marks.left_behind(&with("c"), Seq::ZERO));
        let marks = marks.next(Audience::labels(["a"]), RULES, Seq::new(9));
        assert_eq!(
            left(&marks),
            [("b".to_owned(), Seq::new(7)), ("c".to_owned(), Seq::new(9))]
        );
    }

    #[test]
    fn labels_that_left_before_the_horizon_are_forgotten() {
        let marks = Marks::new(Audience::labels(["a"]), RULES);
        let marks = marks.next(Audience::labels(["b"]), RULES, Seq::new(5));
        let marks = marks.next(Audience::labels(["c"]), RULES, Seq::new(7));
        assert_eq!(marks.without_left(Seq::new(4)), marks);
        let later = marks.without_left(Seq::new(5));
        assert_eq!(left(&later), [("b".to_owned(), Seq::new(7))]);
        assert_eq!(later.audience(RULES), marks.audience(RULES));
        assert!(left(&marks.without_left(Seq::new(7))).is_empty());
        assert_eq!(Marks::default().without_left(Seq::new(7)), Marks::default());
    }

    /// Marks that had one label after the other, each until the place of its number.
    fn after(labels: u64) -> Marks {
        let first = Marks::new(Audience::labels(["l0"]), RULES);
        (1..=labels).fold(first, |marks, place| {
            let audience = Audience::labels([format!("l{place}")]);
            marks.next(audience, RULES, Seq::new(place))
        })
    }

    /// Everybody who may read the collection was told the id of a document that had lost more than 64 labels.
    #[test]
    fn of_very_many_labels_that_left_those_are_told_who_held_one() {
        let marks = after(900);
        assert!(left(&marks).len() <= LEFT + 1);
        let (labels, stored, rules) = marks.parts();
        let marks = Marks::from_parts(labels, stored, rules);
        let told = |access: &Access, after| marks.left_behind(access, Seq::new(after));
        let with = |label: &str| Access::all("x").label(label);
        // Whoever held the first label, which left at 1, still hears of it; told again rather than never.
        for label in ["l0", "l1", "l500", "l835", "l836", "l899"] {
            assert!(told(&with(label), 0), "{label}");
        }
        assert!(!told(&with("l899"), 900));
        for number in 901..2_000 {
            assert!(!told(&with(&format!("l{number}")), 0), "l{number}");
        }
        assert!(!told(&Access::all("l5").role("l6"), 0));
        // Roles and users are labels as well.
        let of = |label: &str| {
            let first = Marks::new(Audience::labels([label]), RULES);
            (1..=100).fold(first, |marks, place| {
                let audience = Audience::labels([format!("l{place}")]);
                marks.next(audience, RULES, Seq::new(place))
            })
        };
        let ann = Access::all("ann").role("editor");
        for label in ["user:ann", "role:editor"] {
            assert!(of(label).left_behind(&ann, Seq::ZERO), "{label}");
            assert!(!of(label).left_behind(&Access::all("bob"), Seq::ZERO));
        }
        // What everybody could read is told to all, however long ago that was.
        assert!(of(EVERYONE).left_behind(&Access::all("bob"), Seq::ZERO));
        assert!(!of(EVERYONE).left_behind(&Access::all("bob"), Seq::new(1)));
    }

    /// Of 32 bits a user could have found a name whose hash is that of a label.
    #[test]
    fn labels_that_left_are_told_apart_by_16_bytes_of_their_hashes() {
        let marks = after(66);
        let left = left(&marks);
        let hashed: Vec<_> = left.iter().filter_map(|(label, _)| hashes(label)).collect();
        assert_eq!(hashed.len(), 1);
        let mut hashed: Vec<_> = hashed.into_iter().flatten().collect();
        hashed.sort_unstable();
        let mut of: Vec<_> = ["l0", "l1"]
            .map(|label| Sha256::digest(label)[..16].to_vec())
            .into();
        of.sort_unstable();
        let hashed: Vec<_> = hashed
            .iter()
            .map(|hash| hash.to_be_bytes().to_vec())
            .collect();
        assert_eq!(hashed, of);
    }

    #[test]
    fn labels_beyond_counting_leave_for_everybody() {
        let most = (LEFT + HASHES) as u64;
        let stranger = Access::all("x").label("never");
        assert!(!after(most).left_behind(&stranger, Seq::ZERO));
        let marks = after(most + 1);
        assert!(marks.left_behind(&stranger, Seq::ZERO));
        assert!(!marks.left_behind(&stranger, Seq::new(most)));
        assert!(left(&marks).len() <= LEFT + 1);
        // Those that leave later are counted anew.
        let marks = (most + 2..most + 200).fold(marks, |marks, place| {
            let audience = Audience::labels([format!("l{place}")]);
            marks.next(audience, RULES, Seq::new(place))
        });
        assert!(!marks.left_behind(&stranger, Seq::new(most)));
        assert!(marks.left_behind(
            &Access::all("x").label(&format!("l{}", most + 1)),
            Seq::new(most)
        ));
    }

    #[test]
    fn marks_of_other_rules_say_nothing() {
        let marks = Marks::new(Audience::everyone(), RULES);
        assert!(marks.audience([2; 8]).is_none());
        assert!(Marks::default().audience(RULES).is_none());
        let (labels, left, rules) = marks.parts();
        assert_eq!(Marks::from_parts(labels, left, rules), marks);
    }

    #[test]
    fn an_audience_has_a_few_short_labels() {
        assert!(Audience::labels(["a"]).fault().is_none());
        assert!(Audience::nobody().fault().is_none());
        for label in ["", "wrote:ann", "\0"] {
            assert!(Audience::labels([label]).fault().is_some(), "{label:?}");
        }
        assert!(Audience::labels(["x".repeat(257)]).fault().is_some());
        assert!(
            Audience::labels((0..33).map(|n| n.to_string()))
                .fault()
                .is_some()
        );
    }
}
