//! Where tables are in the file, for tests that change its bytes (https://sqlite.org/fileformat2.html, b-tree pages).

use std::path::Path;

use super::Sqlite;

/// The bytes of a page.
pub(super) const PAGE: usize = 4096;
/// What the first byte of a leaf says.
pub(super) const LEAF: u8 = 10;

/// Whether a byte of a page belongs to no row: it says how many rows are on it, or which page is a child of it.
pub(super) fn is_of_the_tree(page: &[u8], at: usize) -> bool {
    let number = |at: usize| usize::from(u16::from_be_bytes([page[at], page[at + 1]]));
    // The number of the last child, then where each row is, which begins with the number of the child before it.
    let is_child = || {
        (8..12).contains(&at) || (0..number(3)).map(|row| number(12 + 2 * row)).any(|row| (row..row + 4).contains(&at))
    };
    (3..5).contains(&at) || (page[0] != LEAF && is_child())
}

/// Where the pages of this table or index begin.
pub(super) fn pages_of(folder: &Path, name: &str) -> Vec<usize> {
    let sqlite = Sqlite::open_to_read(folder).unwrap();
    let mut query = sqlite.connection.prepare("SELECT pageno FROM dbstat WHERE name = ?").unwrap();
    let pages = query.query_map([name], |row| row.get::<_, u32>(0)).unwrap();
    pages.map(|page| (page.unwrap() as usize - 1) * PAGE).collect()
}
