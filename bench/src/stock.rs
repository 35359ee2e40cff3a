//! What a server finds in its folder when it starts. Each stock is prepared once a run, through the API.

use std::path::PathBuf;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::time::timeout;

use crate::error::BenchError;
use crate::home::Home;
use crate::process::{Program, ServerProcess};
use crate::spread::thousands;

/// A larger folder is not copied for each measurement. What is measured then adds to it, which is little beside it.
const LARGEST_COPIED: u64 = 256_000_000;
/// Preparing that takes longer will not end well.
const PREPARED_WITHIN: Duration = Duration::from_secs(1800);

/// What is stored before a measurement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stock {
    /// Organizations on the bench's plan; each has been used once.
    pub organizations: u64,
    /// Ids of events that are known.
    pub ids: u64,
}

impl Stock {
    /// So many organizations and no ids.
    pub const fn of(organizations: u64) -> Self {
        Self { organizations, ids: 0 }
    }

    /// With so many known ids.
    pub const fn with_ids(self, ids: u64) -> Self {
        Self { ids, ..self }
    }
}

/// The stocks that have been prepared in this run.
pub struct Stores {
    program: Program,
    parent: PathBuf,
    made: Vec<(Stock, Rc<Home>)>,
}

impl Stores {
    /// None yet. They will be prepared by `binary` in folders in `parent`.
    pub fn new(binary: PathBuf, settings: &[(String, String)], parent: PathBuf) -> Self {
        let created = ("METERGATE_AUTO_CREATE_ORGANIZATIONS".to_owned(), "true".to_owned());
        let settings = settings.iter().cloned().chain([created]).collect();
        Self { program: Program::Metergate { binary, settings }, parent, made: Vec::new() }
    }

    /// A folder with `stock` for one server: a copy, or the prepared one itself where that is large.
    ///
    /// # Errors
    /// Where it cannot be prepared or copied.
    pub async fn open(&mut self, stock: Stock) -> Result<Rc<Home>, BenchError> {
        let home = self.prepared(stock).await?;
        if home.stored_bytes() > LARGEST_COPIED {
            return Ok(home);
        }
        Ok(Rc::new(home.copy(&self.parent)?))
    }

    /// The folder with `stock`, prepared now if it has not been.
    ///
    /// # Errors
    /// Where it cannot be prepared.
    pub async fn prepared(&mut self, stock: Stock) -> Result<Rc<Home>, BenchError> {
        if let Some((_, home)) = self.made.iter().find(|(made, _)| *made == stock) {
            return Ok(home.clone());
        }
        let (organizations, ids) = (thousands(stock.organizations), thousands(stock.ids));
        let what = format!("{organizations} organizations and {ids} ids");
        let began = Instant::now();
        let made = timeout(PREPARED_WITHIN, self.make(stock)).await;
        let home = made.map_err(|_| BenchError::TooSlow(format!("preparing {what}")))??;
        let stored = crate::spread::bytes(home.stored_bytes());
        eprintln!("  prepared {what} in {:.1} s: {stored}", began.elapsed().as_secs_f64());
        self.made.push((stock, home.clone()));
        Ok(home)
    }

    async fn make(&self, stock: Stock) -> Result<Rc<Home>, BenchError> {
        let base = self.base_of(stock);
        let home = match base {
            Some((_, home)) => home.copy(&self.parent)?,
            None => Home::new(&self.parent)?,
        };
        let server = ServerProcess::start(&self.program, Rc::new(home)).await?;
        let target = server.target();
        if base.is_none() {
            target.define_plan().await?;
            target.use_each(stock.organizations).await?;
        }
        let known = base.map_or(0, |(base, _)| base.ids);
        target.record_ids(known..stock.ids, stock.organizations).await?;
        // What follows the answers must be done, or every server that starts on a copy would do it.
        server.quiet().await?;
        Ok(server.home.clone())
    }

    /// The stock of which only ids are missing, with the most of them.
    fn base_of(&self, stock: Stock) -> Option<&(Stock, Rc<Home>)> {
        let fits = |made: &Stock| made.organizations == stock.organizations && made.ids <= stock.ids;
        self.made.iter().filter(|(made, _)| fits(made)).max_by_key(|(made, _)| made.ids)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stock_is_built_on_the_nearest_one_below_it() {
        let parent = tempfile::TempDir::new().unwrap();
        let mut stores = Stores::new("metergate".into(), &[], parent.path().to_owned());
        let cases = [(10, 0), (10, 5), (10, 9), (20, 4)];
        for (organizations, ids) in cases {
            let home = Rc::new(Home::new(parent.path()).unwrap());
            stores.made.push((Stock { organizations, ids }, home));
        }
        #[rustfmt::skip]
        let cases = [ // wanted, base
            (Stock::of(10).with_ids(7), Some(5)),
            (Stock::of(10).with_ids(50), Some(9)),
            (Stock::of(10), Some(0)),
            (Stock::of(20), None),
            (Stock::of(30), None),
        ];
        for (wanted, base) in cases {
            assert_eq!(stores.base_of(wanted).map(|(base, _)| base.ids), base, "{wanted:?}");
        }
    }
}
