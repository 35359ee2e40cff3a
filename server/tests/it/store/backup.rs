//! Backups of an open store, and what becomes of them.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use metergate::backup::{BackupError, MANIFEST, Manifest, RestoreError, Unwatched, Watch, make, restore};
use metergate::clock::Clock;
use metergate::folder::{FolderError, LOCK, Locked, RESTORING};
use metergate::store::examine::{Examined, examine};
use metergate::store::sqlite;
use metergate_rules::time::DAY;
use tempfile::TempDir;

use super::asks::tell;
use super::kit::{Kit, LONG, closed, record, start};
use super::random_work::{Random, work};
use crate::invariant::{Journal, conservation, stored};

/// A store with some work behind it, and a folder for what is made of it.
fn worked(test: &str) -> (Kit, TempDir) {
    let mut kit = Kit::new();
    work(&mut kit, &mut Random::new(test), 120);
    (kit, tempfile::tempdir().unwrap())
}

fn backed_up(kit: &Kit, to: &Path) -> (PathBuf, Manifest) {
    make(kit.folder(), to, start(), &Unwatched).unwrap()
}

fn restored(from: &Path, to: &Path) -> Result<metergate::backup::Restored, RestoreError> {
    restore(from, to, Clock::starting_at(start()), &Unwatched)
}

/// What is in a folder; whether a slice was closed is left to chance.
fn names(folder: &Path) -> Vec<String> {
    let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = names.filter(|name| name != "slices").collect();
    names.sort();
    names
}

#[test]
fn a_backup_of_an_open_store_becomes_a_store_with_all_that_was_durable_then() {
    let (mut kit, folder) = worked("a_backup_of_an_open_store_becomes_a_store_with_all_that_was_durable_then");
    let (backup, manifest) = backed_up(&kit, &folder.path().join("one"));
    assert_eq!(names(folder.path()), ["one"]);
    assert_eq!(names(&backup), [MANIFEST, sqlite::FILE]);
    let before = kit.journal().records;
    work(&mut kit, &mut Random::from_seed(7), 30);
    let data = folder.path().join("made/data");
    let restored = restored(&backup, &data).unwrap();
    assert_eq!((&restored.manifest, &restored.counts), (&manifest, &manifest.counts));
    assert_eq!(names(&data), [LOCK, sqlite::FILE]);
    assert_eq!(Journal::of(&data).records, before);
    stored(&data).unwrap();
    assert_eq!(Manifest::read(&backup).unwrap(), manifest);
    let counts = &manifest.counts;
    assert_eq!(counts.last_block, before.last().unwrap().0);
    assert!(counts.organizations > 1 && counts.ids > 10 && counts.audit_entries > counts.audit_chains, "{counts:?}");
    // It is a store like any other, and can be backed up itself.
    let (_, second) = make(&data, &folder.path().join("two"), start(), &Unwatched).unwrap();
    assert_eq!(second.counts, *counts);
}

#[test]
fn what_the_rows_do_not_hold_yet_is_in_a_backup_all_the_same() {
    let (kit, folder) = worked("what_the_rows_do_not_hold_yet_is_in_a_backup_all_the_same");
    let whole = backed_up(&kit, &folder.path().join("whole")).1.counts;
    let rows = "DELETE FROM accounts; DELETE FROM organizations; DELETE FROM rollups; DELETE FROM day_totals; DELETE FROM unique_values; DELETE FROM fleet_usage;
                DELETE FROM settings WHERE name = 'folded_to'";
    kit.database().execute_batch(rows).unwrap();
    let (backup, manifest) = backed_up(&kit, &folder.path().join("rowless"));
    assert_eq!((manifest.folded_to, &manifest.counts), (0, &whole));
    let data = folder.path().join("data");
    assert_eq!(restored(&backup, &data).unwrap().counts, whole);
    conservation(&data).unwrap();
}

#[test]
fn a_changed_missing_or_shortened_file_of_a_backup_is_named_and_nothing_is_restored() {
    let (kit, folder) = worked("a_changed_missing_or_shortened_file_of_a_backup_is_named_and_nothing_is_restored");
    let (backup, _) = backed_up(&kit, &folder.path().join("backup"));
    let data = folder.path().join("data");
    let refused = |named: &str, why: &str| {
        let error = restored(&backup, &data).unwrap_err().to_string();
        assert!(error.contains(&backup.display().to_string()) && error.contains(named), "{error}");
        assert!(error.contains(why), "{error}");
        assert!(!data.exists(), "nothing is left of it");
    };
    for (file, why) in [(sqlite::FILE, "bytes have changed"), (MANIFEST, "is not what was written")] {
        let path = backup.join(file);
        let whole = fs::read(&path).unwrap();
        for place in [0, whole.len() / 3, whole.len() / 2, whole.len() - 3] {
            let mut changed = whole.clone();
            changed[place] ^= 1;
            fs::write(&path, changed).unwrap();
            refused(file, why);
        }
        fs::write(&path, &whole[..whole.len() - 2]).unwrap();
        refused(file, why);
        fs::remove_file(&path).unwrap();
        refused(file, if file == MANIFEST { "no backup" } else { "is missing" });
        fs::write(&path, whole).unwrap();
    }
    restored(&backup, &data).unwrap();
}

#[test]
fn a_manifest_that_counts_otherwise_than_the_store_is_refused() {
    let (kit, folder) = worked("a_manifest_that_counts_otherwise_than_the_store_is_refused");
    let (one, _) = backed_up(&kit, &folder.path().join("one"));
    assert!(kit.records(&tell("calls", 1, "one more")));
    let (two, _) = backed_up(&kit, &folder.path().join("two"));
    // The database of one with its digest, and the counts of the other, sealed again.
    let [mut first, second] = [&one, &two].map(|backup| serde_json::to_value(Manifest::read(backup).unwrap()).unwrap());
    first["counts"] = second["counts"].clone();
    let forged: Manifest = serde_json::from_value(first).unwrap();
    let mut text = serde_json::to_value(&forged).unwrap();
    let digest = <sha2::Sha256 as sha2::Digest>::digest(serde_json::to_vec(&forged).unwrap());
    text["sha256"] = metergate::hex::hex(&digest).into();
    fs::write(one.join(MANIFEST), text.to_string()).unwrap();
    let error = restored(&one, &folder.path().join("data")).unwrap_err();
    let RestoreError::Differs(differences) = &error else { panic!("{error}") };
    assert!(differences.iter().any(|one| one.starts_with("ids: ")), "{differences:?}");
    assert!(!folder.path().join("data").exists());
}

#[test]
fn nothing_is_restored_over_a_store_or_beside_files_of_others() {
    let (kit, folder) = worked("nothing_is_restored_over_a_store_or_beside_files_of_others");
    let (backup, _) = backed_up(&kit, &folder.path().join("backup"));
    let error = restored(&backup, kit.folder()).unwrap_err();
    assert!(matches!(error, RestoreError::NotEmpty(_)), "{error}");
    kit.check().unwrap();
    let others = folder.path().join("others");
    fs::create_dir(&others).unwrap();
    fs::write(others.join("letter.txt"), "dear").unwrap();
    assert!(matches!(restored(&backup, &others), Err(RestoreError::NotEmpty(_))));
    assert_eq!(names(&others), ["letter.txt"]);
    // A folder that somebody has is in use, also while it is empty.
    let data = folder.path().join("data");
    let held = Locked::take(&data).unwrap();
    assert!(matches!(restored(&backup, &data), Err(RestoreError::Folder(FolderError::InUse(_)))));
    drop(held);
    restored(&backup, &data).unwrap();
}

#[test]
fn a_folder_in_which_a_restore_was_killed_is_no_store_but_can_be_restored_into() {
    let (kit, folder) = worked("a_folder_in_which_a_restore_was_killed_is_no_store_but_can_be_restored_into");
    let (backup, _) = backed_up(&kit, &folder.path().join("backup"));
    let data = folder.path().join("data");
    fs::create_dir_all(data.join(RESTORING)).unwrap();
    fs::create_dir_all(data.join("slices")).unwrap();
    assert!(matches!(Locked::to_serve(&data), Err(FolderError::HalfRestored(_))));
    restored(&backup, &data).unwrap();
    assert_eq!(names(&data), [LOCK, sqlite::FILE]);
    // Killed after the database was in its place, it is whole.
    fs::create_dir(data.join(RESTORING)).unwrap();
    drop(Locked::to_serve(&data).unwrap());
    assert_eq!(names(&data), [LOCK, sqlite::FILE]);
}

#[test]
fn a_name_that_is_taken_is_left_alone() {
    let (kit, folder) = worked("a_name_that_is_taken_is_left_alone");
    let (backup, manifest) = backed_up(&kit, &folder.path().join("backup"));
    assert!(matches!(make(kit.folder(), &backup, start(), &Unwatched), Err(BackupError::Exists(_))));
    assert_eq!(Manifest::read(&backup).unwrap(), manifest);
}

/// Stops after so many bytes.
struct Until(u64, AtomicU64);

impl Watch for Until {
    fn total(&self, _: u64) {}
    fn advance(&self, bytes: u64) {
        self.1.fetch_add(bytes, Ordering::Relaxed);
    }
    fn goes_on(&self) -> bool {
        self.1.load(Ordering::Relaxed) < self.0
    }
}

#[test]
fn a_backup_that_is_stopped_leaves_nothing() {
    let (kit, folder) = worked("a_backup_that_is_stopped_leaves_nothing");
    let whole = backed_up(&kit, &folder.path().join("whole")).1;
    let database = whole.files.iter().find(|file| file.path == sqlite::FILE).unwrap().bytes;
    // Before the first byte, after the database is copied, and after all digests are made: it is read twice for them.
    for most in [0, database, database + whole.bytes()] {
        let stopped = make(kit.folder(), &folder.path().join("stopped"), start(), &Until(most, AtomicU64::new(0)));
        assert!(matches!(stopped, Err(BackupError::Stopped)), "{stopped:?}");
        assert_eq!(names(folder.path()), ["whole"]);
    }
}

/// A store with a few closed slices.
fn sliced(days: i64) -> (Kit, TempDir) {
    let kit = Kit::with_slices(20, days);
    for round in 0..5 {
        record(&kit, round * 25..(round + 1) * 25);
        closed(&kit, round as u64 + 1);
    }
    (kit, tempfile::tempdir().unwrap())
}

/// The slices' files of a backup.
fn slices_of(manifest: &Manifest) -> Vec<&str> {
    manifest.files.iter().filter_map(|file| file.path.strip_prefix("slices/")).collect()
}

#[test]
fn the_slices_of_a_backup_are_the_stores_own_files_as_long_as_both_are_on_one_file_system() {
    let (kit, folder) = sliced(LONG);
    let inside = backed_up(&kit, &kit.folder().join("backups/b"));
    // Copied, since this is another file system.
    let elsewhere = tempfile::tempdir_in("/dev/shm").unwrap();
    let outside = backed_up(&kit, &elsewhere.path().join("b"));
    let device = |path: &Path| path.metadata().unwrap().dev();
    assert_ne!(device(elsewhere.path()), device(kit.folder()), "/dev/shm is a file system of its own");
    for ((backup, manifest), shared) in [(inside, true), (outside, false)] {
        let names = slices_of(&manifest);
        assert!(names.len() >= 10, "{names:?}");
        for name in names {
            let [of_store, of_backup] = [kit.folder(), &backup].map(|folder| folder.join("slices").join(name));
            let [of_store, of_backup] = [of_store, of_backup].map(|path| path.metadata().unwrap());
            assert_eq!((of_store.dev(), of_store.ino()) == (of_backup.dev(), of_backup.ino()), shared, "{name}");
        }
        let data = folder.path().join(if shared { "inside" } else { "outside" });
        restored(&backup, &data).unwrap();
        assert_eq!(Journal::of(&data).records, kit.journal().records);
        stored(&data).unwrap();
    }
}

#[test]
fn a_changed_or_missing_slice_of_a_backup_is_named() {
    let (kit, folder) = sliced(LONG);
    let (backup, manifest) = backed_up(&kit, &folder.path().join("backup"));
    for name in slices_of(&manifest) {
        let path = backup.join("slices").join(name);
        let mut changed = fs::read(&path).unwrap();
        // Removed first: it may be the store's own file.
        fs::remove_file(&path).unwrap();
        let error = restored(&backup, &folder.path().join("data")).unwrap_err().to_string();
        assert!(error.contains(name) && error.contains("is missing"), "{error}");
        let middle = changed.len() / 2;
        changed[middle] ^= 1;
        fs::write(&path, &changed).unwrap();
        let error = restored(&backup, &folder.path().join("data")).unwrap_err().to_string();
        assert!(error.contains(name) && error.contains("bytes have changed"), "{error}");
        changed[middle] ^= 1;
        fs::write(&path, &changed).unwrap();
    }
    restored(&backup, &folder.path().join("data")).unwrap();
    kit.check().unwrap();
}

#[test]
fn a_backup_that_is_older_than_what_is_kept_is_restored_whole() {
    let (kit, folder) = sliced(30);
    let (backup, manifest) = backed_up(&kit, &folder.path().join("backup"));
    let data = folder.path().join("data");
    let years_later = Clock::starting_at(start().plus(3_000 * DAY));
    let restored = restore(&backup, &data, years_later, &Unwatched).unwrap();
    assert_eq!(restored.counts, manifest.counts);
    assert_eq!(Journal::of(&data).records, kit.journal().records);
}

#[test]
fn backups_are_whole_while_slices_close_and_are_merged() {
    let (kit, folder) = sliced(LONG);
    let place = |number: usize| folder.path().join(number.to_string());
    let (made, enough) = (AtomicUsize::new(0), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let (data, place, made, enough) = (kit.folder().to_owned(), &place, &made, &enough);
        let making = scope.spawn(move || {
            while !enough.load(Ordering::Relaxed) {
                make(&data, &place(made.load(Ordering::Relaxed)), start(), &Unwatched).unwrap();
                made.fetch_add(1, Ordering::Relaxed);
            }
        });
        let mut round = 5;
        while (made.load(Ordering::Relaxed) < 4 || kit.count("slices") < 16) && !making.is_finished() {
            record(&kit, round * 25..(round + 1) * 25);
            round += 1;
        }
        enough.store(true, Ordering::Relaxed);
        making.join().unwrap();
    });
    assert!(kit.count("slice_ids") < kit.count("slices"), "nothing was merged");
    let (whole, mut lasts) = (kit.journal().records, Vec::new());
    for number in 0..made.into_inner() {
        let data = folder.path().join(format!("data-{number}"));
        let last = restored(&place(number), &data).unwrap().counts.last_block;
        let records = Journal::of(&data).records;
        assert!(records == whole[..records.len()] && whole.get(records.len()).is_none_or(|next| next.0 > last));
        lasts.push(last);
    }
    assert!(lasts.is_sorted() && lasts.first() < lasts.last(), "no commit came in between: {lasts:?}");
}

fn findings(kit: &Kit) -> Vec<String> {
    let Examined { findings, .. } = examine(kit.folder(), &|| true).unwrap();
    findings
}

#[test]
fn what_is_damaged_is_found_and_not_backed_up() {
    let damages = [
        ("DELETE FROM blocks WHERE sequence = (SELECT max(sequence) - 1 FROM blocks)", "the block before block "),
        (
            "UPDATE blocks SET data = CAST(data || x'00' AS BLOB) WHERE sequence = (SELECT max(sequence) FROM blocks)",
            ": its checksum does not match",
        ),
        (
            "UPDATE audit SET actor = 'key:nobody' WHERE sequence = 1 AND chain = zeroblob(16)",
            "the audit log of the team: entry 1",
        ),
        (
            "DELETE FROM audit WHERE sequence = 1 AND chain <> zeroblob(16)",
            "entry 1 is missing: entry 2 stands in its place",
        ),
        ("DELETE FROM audit WHERE chain <> zeroblob(16)", "entry 1 is gone: the chain ends at entry 0"),
        ("UPDATE audit SET salt = x'00' WHERE chain <> zeroblob(16)", "entry 1 does not match its hash"),
        ("UPDATE accounts SET sequence = sequence + 1", "the account of organization "),
        ("UPDATE rollups SET day = day + 900", "a rollup of organization "),
        ("UPDATE unique_values SET count = count + 1", "a value of organization "),
        (
            "UPDATE fleet_usage SET data = CAST(data || x'00' AS BLOB) WHERE meter = 1",
            "use of meter 1 by all organizations ",
        ),
        ("UPDATE day_totals SET span = span + 900", "the days' totals of organization "),
        ("DELETE FROM day_totals WHERE meter = 1", "the totals of days are not what their rollups come to"),
        ("DELETE FROM fleet_usage", "all organizations together used meter "),
        ("DELETE FROM rollups WHERE meter = 1", "all organizations together used meter 1 "),
        ("PRAGMA user_version = 99", "the database has schema version 99"),
    ];
    for (damage, finding) in damages {
        let (mut kit, folder) = worked("what_is_damaged_is_found_and_not_backed_up");
        assert_eq!(findings(&kit), [""; 0]);
        kit.close();
        kit.database().execute_batch(damage).unwrap();
        let found = findings(&kit);
        assert!(found.iter().any(|one| one.contains(finding)), "{damage} gave {found:?}");
        let error = make(kit.folder(), &folder.path().join("b"), start(), &Unwatched).unwrap_err().to_string();
        assert!(error.contains(finding), "{damage} gave {error}");
        assert_eq!(names(folder.path()), [""; 0]);
    }
}

#[test]
fn a_slice_that_is_lost_or_damaged_is_found_and_not_backed_up() {
    let (mut kit, folder) = sliced(LONG);
    kit.close();
    let file = |ending: &str| {
        let all = fs::read_dir(kit.folder().join("slices")).unwrap().map(|entry| entry.unwrap().path());
        all.filter(|path| path.extension().is_some_and(|found| found == ending)).min().unwrap()
    };
    for path in [file("records"), file("ids")] {
        let name = path.file_name().unwrap().to_str().unwrap();
        let whole = fs::read(&path).unwrap();
        let mut changed = whole.clone();
        changed[whole.len() / 3] ^= 1;
        fs::write(&path, changed).unwrap();
        assert!(findings(&kit).iter().any(|one| one.contains(name)), "{name}: {:?}", findings(&kit));
        fs::remove_file(&path).unwrap();
        assert!(findings(&kit).iter().any(|one| one.contains(name)), "{name}: {:?}", findings(&kit));
        let error = make(kit.folder(), &folder.path().join("b"), start(), &Unwatched).unwrap_err().to_string();
        assert!(error.contains(name), "{error}");
        fs::write(&path, whole).unwrap();
    }
    assert_eq!(findings(&kit), [""; 0]);
}

#[test]
fn pages_that_are_no_longer_what_sqlite_wrote_are_found() {
    let (mut kit, _folder) = worked("pages_that_are_no_longer_what_sqlite_wrote_are_found");
    kit.close();
    kit.database().query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
    let path = kit.folder().join(sqlite::FILE);
    let mut bytes = fs::read(&path).unwrap();
    let page = 4096;
    bytes[3 * page..4 * page].fill(0x5a);
    fs::write(&path, bytes).unwrap();
    let found = findings(&kit);
    assert!(found.iter().any(|one| one.starts_with("the database: ")), "{found:?}");
}
