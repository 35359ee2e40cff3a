//! The write-ahead file as a start finds it: what was acknowledged must all be in its good part.
//!
//! SQLite reads the file up to the first frame whose checksum does not match, and silently ignores all that follows.
//! After a power cut that is right. A commit is synced before it is acknowledged and before the next one begins, so only
//! the last commit in the file can be torn, and nobody was told of it. But bytes that changed later look the same to it,
//! and every commit from there on would be gone without a word. The two can be told apart: behind a torn commit nothing
//! was ever appended. So a frame that continues a commit which stands at or behind the first bad frame shows that this
//! commit was complete, synced and acknowledged.
//!
//! What cannot be told apart: the last commit torn, or acknowledged and damaged later; and a file that was cut short
//! between two frames. Both lose the end of the file.
//!
//! The format is <https://www.sqlite.org/fileformat2.html#walformat>. A frame holds the checksum of everything up to its own
//! end, which is where the next one's begins, so a chain can be followed again behind a frame that is bad.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;

use super::EngineError;

const HEADER: usize = 32;
const FRAME_HEADER: usize = 24;
/// The first word of a file; its last bit says in which byte order checksums are made.
const MAGIC: u32 = 0x377f_0682;
/// Disks write so many bytes at once.
const SECTOR: u64 = 512;

/// Looks for acknowledged commits behind a bad frame.
///
/// # Errors
/// [`EngineError::Unreadable`] if there are some, or if the file cannot be read.
pub(super) fn check(path: &Path) -> Result<(), EngineError> {
    let unreadable = |why: String| super::unreadable(format!("the write-ahead file {}", path.display()), why);
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(unreadable(error.to_string())),
    };
    match find_damage(BufReader::with_capacity(1 << 20, file)) {
        Ok(None) => Ok(()),
        Ok(Some(damage)) => Err(unreadable(format!("{damage}. What was acknowledged would be lost: restore a backup"))),
        Err(error) => Err(unreadable(error.to_string())),
    }
}

/// The header of a file.
struct Header {
    big_endian: bool,
    page: usize,
    salts: [u8; 8],
    checksum: [u32; 2],
}

impl Header {
    fn read(bytes: &[u8; HEADER]) -> Option<Self> {
        let (magic, page) = (word(bytes, 0), word(bytes, 8));
        let big_endian = magic & 1 == 1;
        let known = magic & !1 == MAGIC && page.is_power_of_two() && (512..=65_536).contains(&page);
        let checksum = checksum(big_endian, [0, 0], &bytes[..24]);
        let matches = checksum == [word(bytes, 24), word(bytes, 28)];
        let salts = bytes[16..24].try_into().ok()?;
        (known && matches).then_some(Self { big_endian, page: page as usize, salts, checksum })
    }
}

/// A frame, and what is known of it.
struct Frame {
    /// Whether its checksum continues the frame before it.
    continues: bool,
    /// Whether it ends a commit, by its header.
    ends_commit: bool,
    /// Whether it belongs to this filling of the file: others have other salts.
    is_of_now: bool,
    /// The checksum that it holds.
    checksum: [u32; 2],
}

impl Frame {
    /// `seed` is the checksum of the frame before it, or of the header.
    fn read(header: &Header, seed: [u32; 2], bytes: &[u8]) -> Self {
        let is_of_now = bytes[8..16] == header.salts && word(bytes, 0) > 0;
        let stored = [word(bytes, 16), word(bytes, 20)];
        let begun = checksum(header.big_endian, seed, &bytes[..8]);
        let made = checksum(header.big_endian, begun, &bytes[FRAME_HEADER..]);
        Self { continues: is_of_now && made == stored, ends_commit: word(bytes, 4) > 0, is_of_now, checksum: stored }
    }
}

fn find_damage(mut file: impl Read) -> io::Result<Option<String>> {
    let mut header = [0; HEADER];
    if !fill(&mut file, &mut header)? {
        return Ok(None);
    }
    let Some(header) = Header::read(&header) else {
        // The header is synced before the first frame is written.
        let has_frames = fill(&mut file, &mut [0])?;
        return Ok(has_frames.then(|| "its header is damaged".to_owned()));
    };
    let mut bytes = vec![0; FRAME_HEADER + header.page];
    let (mut seed, mut first_bad, mut after_commit) = (header.checksum, None, false);
    for number in 1.. {
        if !fill(&mut file, &mut bytes)? {
            break;
        }
        let frame = Frame::read(&header, seed, &bytes);
        match first_bad {
            None if frame.continues => {}
            None => {
                first_bad = Some(number);
                after_commit = frame.is_of_now && frame.ends_commit && is_within_a_sector(&header, number);
            }
            Some(bad) if after_commit && frame.continues => {
                return Ok(Some(format!("frame {bad} is damaged, and later commits stand behind it")));
            }
            Some(_) => after_commit = frame.continues && frame.ends_commit,
        }
        seed = frame.checksum;
    }
    Ok(None)
}

/// Whether a frame's header is whole although the frame is torn, since it lies in one sector.
fn is_within_a_sector(header: &Header, number: u64) -> bool {
    let start = HEADER as u64 + (number - 1) * (FRAME_HEADER + header.page) as u64;
    start % SECTOR + FRAME_HEADER as u64 <= SECTOR
}

/// `false` at the end of the file; a frame that is cut short is none.
fn fill(file: &mut impl Read, buffer: &mut [u8]) -> io::Result<bool> {
    match file.read_exact(buffer) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn checksum(big_endian: bool, seed: [u32; 2], bytes: &[u8]) -> [u32; 2] {
    let read = |four: &[u8]| {
        let four = [four[0], four[1], four[2], four[3]];
        if big_endian { u32::from_be_bytes(four) } else { u32::from_le_bytes(four) }
    };
    bytes.chunks_exact(8).fold(seed, |[first, second], eight| {
        let first = first.wrapping_add(read(&eight[..4])).wrapping_add(second);
        [first, second.wrapping_add(read(&eight[4..])).wrapping_add(first)]
    })
}
