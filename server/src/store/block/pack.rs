//! Packing records into a block.

use metergate_rules::id::OrganizationId;

use super::{ALONE, HEADER, Listed, Record, Run, Unreadable, VERSION};

/// Brings records into the order of a block: by organization, of each as they happened. Answers their indices.
pub fn order(records: &[(OrganizationId, Record)]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..records.len()).collect();
    order.sort_by_key(|i| records[*i].0);
    order
}

/// Packs records in their [`order`], with the hashes of the ids that some were made under. Answers the block and each
/// record's offset, in the order given.
///
/// # Errors
/// [`Unreadable::Malformed`] if a record cannot be encoded; a defect.
pub fn pack(
    records: &[(OrganizationId, Record)],
    order: &[usize],
    ids: &[(usize, u64)],
) -> Result<(Vec<u8>, Vec<u32>), Unreadable> {
    let bodies = Bodies::of(records, order)?;
    let mut offsets = vec![0; records.len()];
    order.iter().zip(&bodies.offsets).for_each(|(i, offset)| offsets[*i] = *offset);
    let mut places: Vec<(u32, u64)> = ids.iter().map(|(i, hash)| (offsets[*i], *hash)).collect();
    places.sort_unstable();
    let (block, base) = bodies.into_block(&places)?;
    offsets.iter_mut().for_each(|offset| *offset += base);
    Ok((block, offsets))
}

/// Packs some of the records, in their order, without ids. Answers the block and the offset of each of them.
///
/// # Errors
/// [`Unreadable::Malformed`] if a record cannot be encoded; a defect.
pub fn pack_some(records: &[(OrganizationId, Record)], some: &[usize]) -> Result<(Vec<u8>, Vec<u32>), Unreadable> {
    let mut bodies = Bodies::of(records, some)?;
    let mut offsets = std::mem::take(&mut bodies.offsets);
    let (block, base) = bodies.into_block(&[])?;
    offsets.iter_mut().for_each(|offset| *offset += base);
    Ok((block, offsets))
}

/// The records of a block, encoded, before it is known where they begin.
struct Bodies {
    bytes: Vec<u8>,
    offsets: Vec<u32>,
    directory: Vec<Listed>,
}

impl Bodies {
    fn of(records: &[(OrganizationId, Record)], some: &[usize]) -> Result<Self, Unreadable> {
        let (mut bytes, mut offsets) = (Vec::with_capacity(some.len() * 96), Vec::with_capacity(some.len()));
        let mut directory: Vec<Listed> = Vec::new();
        for &i in some {
            let (organization, record) = &records[i];
            let start = bytes.len();
            postcard::serialize_with_flavor(record, Appended(&mut bytes))?;
            offsets.push(start as u32);
            let length = (bytes.len() - start) as u32;
            match directory.last_mut() {
                Some((last, total, count)) if last == organization => (*total, *count) = (*total + length, *count + 1),
                _ => directory.push((*organization, length, 1)),
            }
        }
        Ok(Self { bytes, offsets, directory })
    }

    /// The block, and where its records begin. The ids come with the offsets of their records in these.
    fn into_block(mut self, places: &[(u32, u64)]) -> Result<(Vec<u8>, u32), Unreadable> {
        let mut ids = Vec::with_capacity(places.len() * 10);
        let mut before = 0;
        for (offset, hash) in places {
            let id = (offset - before, hash.to_le_bytes());
            postcard::serialize_with_flavor(&id, Appended(&mut ids))?;
            before = *offset;
        }
        let head = HEADER + 21 * self.directory.len() + ids.len() + 16;
        let mut block = Vec::with_capacity(head + self.bytes.len());
        block.extend_from_slice(&[VERSION, 0, 0, 0, 0]);
        postcard::serialize_with_flavor(&(&self.directory, ids.len()), Appended(&mut block))?;
        block.append(&mut ids);
        let base = block.len() as u32;
        block.append(&mut self.bytes);
        let checksum = crc32fast::hash(&block[HEADER..]);
        block[1..HEADER].copy_from_slice(&checksum.to_le_bytes());
        Ok((block, base))
    }
}

/// Packs the records of one organization in a block as a block of its own, in which they have the same offsets.
///
/// # Errors
/// [`Unreadable::Malformed`] if it cannot be encoded; a defect.
pub fn pack_alone(run: &Run<'_>) -> Result<Vec<u8>, Unreadable> {
    let directory: [Listed; 1] = [(run.organization, run.bytes.len() as u32, run.records()?.len() as u32)];
    let mut block = vec![ALONE, 0, 0, 0, 0];
    block.extend_from_slice(&run.start.to_le_bytes());
    postcard::serialize_with_flavor(&(&directory[..], 0_usize), Appended(&mut block))?;
    block.extend_from_slice(run.bytes);
    let checksum = crc32fast::hash(&block[HEADER..]);
    block[1..HEADER].copy_from_slice(&checksum.to_le_bytes());
    Ok(block)
}

/// What is encoded goes to the end of a vector, whole slices at a time.
struct Appended<'a>(&'a mut Vec<u8>);

impl postcard::ser_flavors::Flavor for Appended<'_> {
    type Output = ();

    fn try_extend(&mut self, data: &[u8]) -> postcard::Result<()> {
        self.0.extend_from_slice(data);
        Ok(())
    }

    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        self.0.push(byte);
        Ok(())
    }

    fn finalize(self) -> postcard::Result<()> {
        Ok(())
    }
}
