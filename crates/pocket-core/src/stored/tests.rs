use std::fmt::Write as _;
use std::path::Path;

use super::target::{CheckpointLater, ResyncingLater, TargetLater};
use super::*;
use crate::{CollectionName, Epoch, SessionToken};

#[test]
fn that_a_mutation_was_never_sent_is_seen_without_reading_it() {
    for (progress, unsent) in [
        (Progress::Unsent, true),
        (Progress::Pinned(MutationNumber::new(7)), false),
        (Progress::Conflicted(Seq::new(70_000)), false),
    ] {
        let row = MutationRow {
            progress,
            content: 1,
            ended: 2,
            changes: Vec::new(),
            later: MutationLater::default(),
        };
        assert_eq!(MutationRow::is_unsent(&encode(&row)).ok(), Some(unsent));
    }
    assert!(MutationRow::is_unsent(b"no row").is_err());
}

fn ttl() -> TtlRow {
    TtlRow {
        field: Some("at".into()),
        after_ms: 60_000,
        later: Later,
    }
}

fn revision() -> Revision {
    Revision::new(Hlc::from_bits(7 << 16), ClientId::from_bytes([7; 16]))
}

fn id() -> DocumentId {
    DocumentId::new("id").expect("an id")
}

fn collection() -> CollectionRow {
    CollectionRow {
        number: 3,
        sync: true,
        strategy: Some(ConflictStrategy::Merge),
        dropped: true,
        joins: true,
        later: CollectionLater {
            held: Digest::of(&id(), revision()),
            ttl: Some(ttl()),
            away: Some(4),
            parted: Some((Seq::new(5), 6)),
            parted_before: vec![(Seq::new(7), 8), (Seq::new(9), 10)],
        },
    }
}

fn target() -> TargetRow {
    let resyncing = Resyncing {
        fork: Some(Seq::new(11)),
        since: 12,
        sweep: Some(serde_bytes::ByteBuf::from(b"key".to_vec())),
        later: ResyncingLater {
            before: vec![(Seq::new(13), 14)],
        },
    };
    let name = CollectionName::new("docs").expect("a name");
    TargetRow {
        token: Some(SessionToken::from_bytes([1; 16])),
        binding: None,
        last_number: MutationNumber::new(2),
        confirmed: MutationNumber::new(1),
        checkpoint: CheckpointRow {
            epoch: Some(Epoch::from_bytes([3; 16])),
            seq: Seq::new(15),
            scope: Some(vec![name.clone()]),
            joining: vec![(name, Seq::new(16))],
            rights: Some(serde_bytes::ByteBuf::from(b"rights".to_vec())),
            fixed_head: Some(Seq::new(17)),
            later: CheckpointLater {
                resync: 18,
                running: Some(resyncing),
                blind: Seq::new(19),
                unsure: true,
            },
        },
        last_sync_at: Some(20),
        later: TargetLater {
            epochs: vec![(Epoch::from_bytes([4; 16]), Seq::new(21))],
            told: Seq::new(22),
            repaired: Some(23),
        },
    }
}

fn mutation() -> MutationRow {
    let change = ChangeRow {
        collection: 3,
        id: id(),
        kind: StoredKind::Delete,
        rev: revision(),
        base: Some(revision()),
        has_base_body: true,
        later: ChangeLater { migrated: true },
    };
    MutationRow {
        progress: Progress::Conflicted(Seq::new(24)),
        content: 1,
        ended: 2,
        changes: vec![change],
        later: MutationLater {
            doubt: Doubt::Sent,
            met: Seq::new(25),
            freed: true,
            returns: true,
        },
    }
}

/// Rows are written as they always were.
fn assert_fixture(name: &str, rows: &[(&str, Bytes)]) {
    let mut today = String::new();
    for (name, row) in rows {
        write!(today, "{name} ").expect("memory");
        for byte in row {
            write!(today, "{byte:02x}").expect("memory");
        }
        today.push('\n');
    }
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let fixture = fixtures.join(name);
    if std::env::var_os("POCKET_BLESS").is_some() {
        std::fs::write(&fixture, &today).expect("writes");
    }
    let then = std::fs::read_to_string(fixture).expect("the fixture");
    assert_eq!(today, then);
}

/// The fields that rows got later, of which a database has some only at rare moments: they are written as they always
/// were, and read.
#[test]
fn later_fields_are_what_the_fixture_holds() {
    let head = DatabaseHead {
        name: "name".into(),
        client: ClientId::from_bytes([7; 16]),
        schema_version: 2,
        later: HeadLater {
            migration: Some(MigrationRow {
                from: 1,
                after: serde_bytes::ByteBuf::from(b"key".to_vec()),
                counts: (1, 2, 3),
                later: Later,
            }),
        },
    };
    let state = State {
        later: StateLater { last_index: 26 },
        ..State::default()
    };
    let index = IndexRow {
        collection: 3,
        name: "at".into(),
        fields: vec![("at".into(), true)],
        unique: false,
        sparse: true,
        only: None,
        phase: IndexPhase::Building(None),
        multi: 1,
        later: IndexLater { ttl: Some(ttl()) },
    };
    let document = DocumentHead {
        rev: revision(),
        presence: Presence::Live,
        server: None,
        resync: 27,
        pending: vec![Place::new(28)],
        later: DocumentLater {
            reshaped: Some(revision()),
            stepped: None,
        },
    };
    let stepped = DocumentHead {
        later: DocumentLater {
            reshaped: None,
            stepped: Some(Hlc::from_bits(29)),
        },
        ..document.clone()
    };
    let rows = [
        ("database", encode(&head)),
        ("state", encode(&state)),
        ("collection", encode(&collection())),
        ("index", encode(&index)),
        ("target", encode(&target())),
        ("mutation", encode(&mutation())),
        ("document", encode(&document)),
        ("stepped", encode(&stepped)),
    ]
    .map(|(name, row)| (name, Bytes::from(row)));
    assert_fixture("later-fields-1.txt", &rows);
    assert_eq!(decode::<DatabaseHead>(&rows[0].1).ok(), Some(head));
    assert_eq!(decode::<State>(&rows[1].1).ok(), Some(state));
    assert_eq!(decode::<CollectionRow>(&rows[2].1).ok(), Some(collection()));
    assert_eq!(decode::<IndexRow>(&rows[3].1).ok(), Some(index));
    assert_eq!(decode::<TargetRow>(&rows[4].1).ok(), Some(target()));
    assert_eq!(decode::<MutationRow>(&rows[5].1).ok(), Some(mutation()));
    assert_eq!(decode::<DocumentHead>(&rows[6].1).ok(), Some(document));
    assert_eq!(decode::<DocumentHead>(&rows[7].1).ok(), Some(stepped));
}
