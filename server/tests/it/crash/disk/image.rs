//! A disk that can lose its power: an ext4 file system in a file, mounted through a loop device.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use crate::crash::process::until;

/// A folder whose mounts are found again if this process is killed.
pub(in crate::crash) fn folder() -> TempDir {
    unmount_what_is_left();
    tempfile::Builder::new().prefix(&format!("{PREFIX}{}-", std::process::id())).tempdir().unwrap()
}

const PREFIX: &str = "metergate-disk-";
/// An image is looked at in pieces of so many bytes.
const PIECE: usize = 64 * 1024;

/// A mounted image. It is unmounted when this is dropped.
pub(in crate::crash) struct Disk {
    image: PathBuf,
    at: PathBuf,
}

impl Disk {
    /// Makes an image of so many MiB in a run's folder, and mounts it as its data folder.
    pub(in crate::crash) fn make(folder: &Path, megabytes: u64) -> Self {
        let disk = Self { image: folder.join("disk.img"), at: folder.join("data") };
        File::create(&disk.image).unwrap().set_len(megabytes << 20).unwrap();
        // No blocks are set aside for root, so that the disk is full when it is full.
        tool("mkfs.ext4", &["-q", "-F", "-m", "0", text(&disk.image)]);
        fs::create_dir(&disk.at).unwrap();
        disk.mount();
        disk
    }

    fn mount(&self) {
        // ext4 writes some files by itself when they are closed, out of kindness to programs that forget to sync them.
        tool("mount", &["-o", "loop,noauto_da_alloc", text(&self.image), text(&self.at)]);
    }

    /// Where the next power cut finds and leaves the disk.
    pub(super) fn power(&self) -> Power {
        Power { image: self.image.clone(), left: self.image.with_extension("left") }
    }

    /// Puts what a power cut has left in the place of the disk.
    pub(super) fn power_returns(&self) {
        unmount(&self.at).unwrap_or_else(|error| panic!("{error}"));
        fs::rename(self.power().left, &self.image).unwrap();
        self.mount();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        if let Err(error) = unmount(&self.at) {
            eprintln!("{error}");
        }
    }
}

/// What a power cut needs to know of a disk, so that it can come while the run is at work.
pub(super) struct Power {
    image: PathBuf,
    left: PathBuf,
}

impl Power {
    /// Keeps what the disk holds at this instant. Everything that writes to it must stand still.
    ///
    /// What has reached the disk is what the loop device has written into the image. It writes into the page cache of the
    /// image, and the copy is read from there, so it sees every write of the mounted file system that was sent to the
    /// device, flushed or not: a disk that forgets nothing that it was given. What the mounted file system still keeps
    /// in its own page cache was never sent, and is lost, as it is when the power fails. A commit that is not synced is
    /// there for seconds (`dirty_writeback_centisecs`), so whatever was acknowledged without a sync is not in the copy.
    ///
    /// The process stands still, but the kernel need not: a journal commit may go on while the image is read, and a mixture
    /// of before and after is no instant. So it is read until two readings are equal. Then each piece was the same
    /// before and after the end of the first reading, and the copy is the disk of that moment.
    pub(super) fn cut(&self) {
        let mut read = fs::read(&self.image).unwrap();
        let settled = until(Duration::from_secs(30), || {
            let again = fs::read(&self.image).unwrap();
            let same = again == read;
            read = again;
            same.then_some(())
        });
        settled.expect("nothing writes to the disk once the server stands still");
        let left = File::create(&self.left).unwrap();
        left.set_len(read.len() as u64).unwrap();
        for (number, piece) in read.chunks(PIECE).enumerate().filter(|(_, piece)| piece.iter().any(|byte| *byte != 0)) {
            left.write_all_at(piece, (number * PIECE) as u64).unwrap();
        }
    }
}

/// Runs a program of the system that must succeed.
fn tool(name: &str, arguments: &[&str]) {
    let needs = "Tests of the disk need root, loop devices, ext4, mount and e2fsprogs: run them as root, and in a container \
                 with --privileged";
    let output =
        Command::new(name).args(arguments).output().unwrap_or_else(|error| panic!("{name}: {error}. {needs}."));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{name} {arguments:?} failed: {said}. {needs}.");
}

/// A process that was just killed may hold on to its files for a moment.
fn unmount(at: &Path) -> Result<(), String> {
    let mut said = String::new();
    let done = until(Duration::from_secs(30), || {
        let output = Command::new("umount").arg(at).output().ok()?;
        said = String::from_utf8_lossy(&output.stderr).into_owned();
        output.status.success().then_some(())
    });
    done.ok_or_else(|| format!("{} cannot be unmounted: {said}", at.display()))
}

/// Unmounts what test processes that were killed have left behind.
fn unmount_what_is_left() {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    for at in mounts.lines().filter_map(|line| line.split(' ').nth(1)) {
        let process = at.split_once(PREFIX).and_then(|(_, rest)| rest.split_once('-')).map(|(process, _)| process);
        if process.is_some_and(|process| !Path::new("/proc").join(process).exists()) {
            let _ = unmount(Path::new(at));
        }
    }
}

fn text(path: &Path) -> &str {
    path.to_str().expect("the folder for temporary files has a name in UTF-8")
}
