//! Names, and what a manifest may say.

use std::fs;

use super::*;
use crate::store::examine::Census;

#[test]
fn a_name_names_one_folder_and_nothing_else() {
    let long = "a".repeat(MOST_NAME);
    for name in ["a", "0", "2026-11-22T21-38-18Z", "before_upgrade-2.1", "a..b", &long] {
        assert_eq!(Name::new(name).unwrap().as_str(), name);
    }
    for name in ["", ".", "..", ".a", "-a", "_a", "a/b", "../a", "a b", "ä", "a\0", "a\n", &format!("{long}a")] {
        assert_eq!(Name::new(name), Err(InvalidName), "{name:?}");
    }
    let time: Time = "2026-11-22T21:38:18.793236Z".parse().unwrap();
    assert_eq!(Name::at(time), Name::new("2026-11-22T21-38-18Z").unwrap());
}

fn manifest(path: &str) -> Manifest {
    let counts = Census { organizations: 3, blocks: 7, last_block: 7, ..Census::default() };
    let file = FileEntry { path: path.to_owned(), bytes: 4096, sha256: "00ff".to_owned() };
    Manifest::new("2026-11-22T21:38:18Z".to_owned(), 5, counts, vec![file])
}

fn read(text: impl AsRef<[u8]>) -> Result<Manifest, String> {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join(MANIFEST), text).unwrap();
    Manifest::read(folder.path()).map_err(|error| error.to_string())
}

#[test]
fn a_manifest_says_what_was_written_or_is_refused() {
    let written = manifest("metergate.sqlite");
    let text = written.text().unwrap();
    assert_eq!(read(&text), Ok(written.clone()));
    let mut refused = 0;
    for place in 0..text.len() {
        let mut changed = text.clone().into_bytes();
        changed[place] ^= 1;
        match read(&changed) {
            // White space says nothing.
            Ok(same) => assert_eq!(same, written, "byte {place}"),
            Err(reason) => {
                assert!(reason.contains("backup.json"), "{reason}");
                refused += 1;
            }
        }
        assert!(place == text.len() - 1 || read(&text.as_bytes()[..place]).is_err(), "cut at {place}");
    }
    assert!(refused > text.len() / 2);
    let empty = tempfile::tempdir().unwrap();
    assert!(Manifest::read(empty.path()).unwrap_err().to_string().contains("no backup.json"));
}

#[test]
fn a_manifest_of_a_later_format_is_refused_with_who_wrote_it() {
    let later = r#"{"format": 2, "program": "9.1.0", "something": "else"}"#;
    assert!(read(later).unwrap_err().contains("written by metergate 9.1.0: use that version or a newer one"));
}

#[test]
fn a_manifest_leads_nowhere_but_into_its_backup() {
    #[rustfmt::skip]
    let cases = [
        ("metergate.sqlite", true), ("slices/1-500.sqlite", true), ("slices/1-500.ids", true),
        ("metergate.sqlite-wal", false), ("lock", false), ("slices", false), ("slices/", false), ("slices/..", false),
        ("slices/../../x", false), ("/etc/passwd", false), ("../x", false), ("slices/a/b", false), ("slicesa", false),
    ];
    for (path, ours) in cases {
        assert_eq!(read(manifest(path).text().unwrap()).is_ok(), ours, "{path}");
    }
}

#[test]
fn what_others_are_making_is_not_swept_away() {
    let folder = tempfile::tempdir().unwrap();
    let partial = partial::Partial::begin(&folder.path().join("b")).unwrap();
    assert!(matches!(partial::Partial::begin(&folder.path().join("b")), Err(BackupError::InProgress(_))));
    for name in [".a.metergate-partial", ".foreign.partial", "a"] {
        fs::create_dir(folder.path().join(name)).unwrap();
    }
    sweep(folder.path());
    assert!(partial.folder().exists());
    let mut left: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, [".b.metergate-partial", ".foreign.partial", "a"]);
    drop(partial);
    assert!(!folder.path().join(".b.metergate-partial").exists());
}
