use super::*;
use pocket_storage_memory::MemoryStorage;

/// A backup as the first version wrote it. It must be readable for ever.
const FIRST: &[u8] = b"POCKET-BACKUP 1\n{\"role\":\"server\",\"storage\":\"sled\",\"made\":\"2026-01-31T12:00:00Z\"}\n\
    E\x01\0\0\0\x03\0\0\0aone\
    E\x01\0\0\0\0\0\0\0b\
    .\x02\0\0\0\0\0\0\0";

fn about() -> About {
    About {
        role: Role::Server,
        storage: StorageKind::Sled,
        made: "2026-01-31T12:00:00Z".to_owned(),
    }
}

fn first() -> Vec<u8> {
    let summed = FIRST.len() - 9;
    let sum: [u8; 32] = Sha256::digest(&FIRST[..summed]).into();
    [FIRST, &sum].concat()
}

fn check(bytes: &[u8]) -> Result<Archive> {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    Archive::check(file, "it")
}

async fn store() -> MemoryStorage {
    let storage = MemoryStorage::new();
    let mut batch = Batch::new();
    batch.put(b"a".to_vec(), &b"one"[..]);
    batch.put(b"b".to_vec(), &b""[..]);
    storage.commit(batch, Durability::Relaxed).await.unwrap();
    storage
}

#[tokio::test]
async fn the_form_of_a_backup_is_fixed() {
    let mut written = Vec::new();
    let totals = write(
        State::Still(&store().await),
        &about(),
        &mut written,
        Damaged::Copied,
    )
    .await
    .unwrap();
    assert_eq!(written, first());
    let archive = check(&written).unwrap();
    assert_eq!((archive.about.clone(), archive.totals), (about(), totals));
    assert_eq!(
        totals,
        Totals {
            entries: 2,
            bytes: 5,
            damaged: 2
        }
    );
    let restored = MemoryStorage::new();
    archive.restore(&restored).await.unwrap();
    let mut again = Vec::new();
    write(
        State::Still(&restored),
        &about(),
        &mut again,
        Damaged::Copied,
    )
    .await
    .unwrap();
    assert_eq!(again, written);
}

#[tokio::test]
async fn a_store_of_many_scans_comes_back_whole() {
    let storage = MemoryStorage::new();
    for round in 0_u32..5 {
        let mut batch = Batch::new();
        for number in 0_u32..700 {
            let key = (round * 700 + number).to_be_bytes().to_vec();
            batch.put(key, vec![7; 900]);
        }
        storage.commit(batch, Durability::Relaxed).await.unwrap();
    }
    let mut written = Vec::new();
    let totals = write(
        State::Still(&storage),
        &about(),
        &mut written,
        Damaged::Copied,
    )
    .await
    .unwrap();
    assert_eq!(totals.entries, 3_500);
    let restored = MemoryStorage::new();
    check(&written).unwrap().restore(&restored).await.unwrap();
    let mut again = Vec::new();
    write(
        State::Still(&restored),
        &about(),
        &mut again,
        Damaged::Copied,
    )
    .await
    .unwrap();
    assert!(again == written);
}

#[test]
fn each_cut_and_each_changed_byte_is_noticed() {
    let whole = first();
    check(&whole).unwrap();
    for cut in 0..whole.len() {
        assert_eq!(check(&whole[..cut]).unwrap_err().code(), "corrupt", "{cut}");
    }
    for place in 0..whole.len() {
        let mut damaged = whole.clone();
        damaged[place] ^= 0x10;
        assert!(check(&damaged).is_err(), "{place}");
    }
    let longer = [&whole[..], b"x"].concat();
    assert_eq!(check(&longer).unwrap_err().code(), "corrupt");
    let newer = String::from_utf8_lossy(&whole).replacen("BACKUP 1", "BACKUP 2", 1);
    assert_eq!(check(newer.as_bytes()).unwrap_err().code(), "newer-format");
}
