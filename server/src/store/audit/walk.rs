//! Going through all chains of the audit log a part at a time, and comparing them with what is known from elsewhere.

use metergate_rules::audit::Hash;
use metergate_rules::id::OrganizationId;

use super::{AuditRow, Begun, Broken, Chain, TEAM, beginning, chain_of};
use crate::store::error::EngineError;
use crate::store::ledger::Head;
use crate::store::rows::Rows;

/// Findings of one part at most; a log with more is no better known by them.
const MOST_FINDINGS: usize = 100;

/// Where a walk stands: at the last entry that it has looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    chain: Chain,
    /// The place of that entry, which may lie behind the last that fits.
    sequence: u64,
}

impl Place {
    /// For a cursor.
    pub fn to_bytes(self) -> Vec<u8> {
        let Chain { name, head, broken } = self.chain;
        let numbers = [self.sequence.to_be_bytes(), head.sequence.to_be_bytes()].concat();
        [&name[..], &numbers, &head.hash, &[u8::from(broken)]].concat()
    }

    /// Out of a cursor.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (name, rest) = bytes.split_first_chunk()?;
        let (sequence, rest) = rest.split_first_chunk()?;
        let (held, rest) = rest.split_first_chunk()?;
        let (hash, rest) = rest.split_first_chunk()?;
        let [broken @ (0 | 1)] = rest else { return None };
        let head = Head { sequence: u64::from_be_bytes(*held), hash: *hash };
        let chain = Chain { name: *name, head, broken: *broken == 1 };
        Some(Self { chain, sequence: u64::from_be_bytes(*sequence) })
    }
}

/// The first thing that is wrong with a chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Which chain.
    pub chain: [u8; 16],
    /// What is wrong.
    pub broken: Broken,
}

/// A part of a walk.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Walked {
    /// Chains that begin in it.
    pub chains: u64,
    /// Of these so many begin at a checkpoint.
    pub checkpoints: u64,
    /// Entries that were dropped behind those checkpoints.
    pub dropped: u64,
    /// Entries that were looked at.
    pub entries: u64,
    /// What is wrong.
    pub findings: Vec<Finding>,
    /// Where the next part goes on.
    pub next: Option<Place>,
}

/// Goes through so many entries, chain by chain, each from its first one. The first part also looks for organizations of
/// whose chain nothing is left. Where the team's chain holds the end of another, that end is looked for.
///
/// # Errors
/// [`EngineError`] if the log cannot be read.
pub fn walk(rows: &dyn Rows, from: Option<Place>, most: usize) -> Result<Walked, EngineError> {
    let mut walked = Walked::default();
    if from.is_none() {
        walked.findings.extend(rows.organizations_without_audit(MOST_FINDINGS)?.into_iter().map(without_chain));
    }
    let (mut at, mut read) = (from, 0);
    rows.each_audit_row_after(at.map(|at| (at.chain.name, at.sequence)), most, &mut |row| {
        let mut chain = match at.map(|at| at.chain).filter(|chain| chain.name == row.chain) {
            Some(chain) => chain,
            None => walked.begin(Chain::begin(rows, row.chain)?),
        };
        read += 1;
        if !chain.is_dropped(&row) {
            walked.entries += 1;
            walked.find(row.chain, chain.follow(&row).err());
            if !chain.broken {
                walked.findings.extend(held(rows, &row, MOST_FINDINGS.saturating_sub(walked.findings.len()))?);
            }
        }
        at = Some(Place { chain, sequence: row.sequence });
        Ok(())
    })?;
    Ok(Walked { next: at.filter(|_| read == most), ..walked })
}

impl Walked {
    /// The next chain.
    fn begin(&mut self, begun: Begun) -> Chain {
        self.chains += 1;
        if let Some(cut) = begun.cut {
            self.checkpoints += 1;
            self.dropped += cut.sequence;
        }
        self.find(begun.chain.name, begun.broken);
        begun.chain
    }

    fn find(&mut self, chain: [u8; 16], broken: Option<Broken>) {
        if self.findings.len() < MOST_FINDINGS {
            self.findings.extend(broken.map(|broken| Finding { chain, broken }));
        }
    }
}

/// What is wrong with the chains whose ends an entry holds: they may have grown since, not shrunk.
pub(in crate::store) fn held(rows: &dyn Rows, row: &AuditRow, most: usize) -> Result<Vec<Finding>, EngineError> {
    let mut findings = Vec::new();
    for end in row.ends() {
        findings.extend(compare(rows, end.chain, end.seq, &end.hash)?);
        if findings.len() >= most {
            break;
        }
    }
    findings.truncate(most);
    Ok(findings)
}

/// Its creation is an entry, so that every organization has one.
pub(in crate::store) fn without_chain(organization: OrganizationId) -> Finding {
    Finding { chain: chain_of(organization), broken: Broken::CutOff { expected: 1, found: 0 } }
}

/// Whether a chain still has the entry that was its last one when somebody noted it, or has dropped it behind a checkpoint.
///
/// # Errors
/// [`EngineError`] if the log cannot be read.
pub fn compare(rows: &dyn Rows, chain: [u8; 16], sequence: u64, hash: &Hash) -> Result<Option<Finding>, EngineError> {
    let found = rows.audit_entry(chain, sequence)?;
    let broken = match beginning(rows, chain)? {
        Ok(Some(cut)) if sequence == cut.sequence && cut.hash != *hash => Some(Broken::Rewritten(sequence)),
        Ok(Some(cut)) if sequence <= cut.sequence => return Ok(None),
        Ok(_) => None,
        Err(broken) => Some(broken),
    };
    if let Some(broken) = broken {
        return Ok(Some(Finding { chain, broken }));
    }
    let broken = match found {
        Some(row) if row.hash == *hash => return Ok(None),
        Some(_) => Broken::Rewritten(sequence),
        None => match rows.audit_head(chain)?.sequence {
            last if last > sequence => Broken::Missing { expected: sequence, found: last },
            last => Broken::CutOff { expected: sequence, found: last },
        },
    };
    Ok(Some(Finding { chain, broken }))
}

/// The ends of all chains, in order of their names, each with its place and hash; the team's is the first.
///
/// # Errors
/// [`EngineError`] if the log cannot be read.
pub fn heads(rows: &dyn Rows) -> Result<Vec<([u8; 16], u64, Hash)>, EngineError> {
    let mut heads = Vec::new();
    let mut next = rows.audit_chain_from(TEAM)?;
    while let Some(chain) = next {
        let head = rows.audit_head(chain)?;
        heads.push((chain, head.sequence, head.hash));
        next = rows.audit_chain_after(chain)?;
    }
    Ok(heads)
}
