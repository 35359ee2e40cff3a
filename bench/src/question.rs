//! What one may want to know: each question is one run with one table and one chart.

use clap::ValueEnum;

use crate::chart::{Axis, Chart, Marks, Panel, Scale, Series};
use crate::error::BenchError;
use crate::stock::Stores;
use crate::suite::{Suite, when};

mod arrays;
mod cluster;
mod connections;
mod disk;
mod ids;
mod ingest;
mod latency;
mod memory;
mod organizations;
mod pages;
mod reads;
mod start_up;

/// What one may want to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Question {
    /// Decisions a second and CPU per decision against connections, beside a bare echo
    Connections,
    /// Latency at fixed rates, beside the disk's own
    Latency,
    /// Events a second against the size of a batch
    Ingest,
    /// Decisions a second against the size of an array
    Arrays,
    /// Decisions a second and CPU per decision against the number of organizations
    Organizations,
    /// Decisions and events a second against the number of ids that are known
    Ids,
    /// Memory per organization and per known id
    Memory,
    /// Time from the start of the process until it is ready, also after a kill
    StartUp,
    /// Reports: an organization's year, a hundred organizations at once, pages of lists
    Reads,
    /// Pages of the dashboard and the portal, and the list of a hundred thousand organizations
    Pages,
    /// Bytes written to the disk and kept on it, per decision and event
    Disk,
    /// Nodes that share a PostgreSQL, beside PostgreSQL's own pgbench, and what a Redis carries
    Cluster,
}

/// What came of a question.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The table, with the conditions under which it holds and the targets that it is held against.
    pub markdown: String,
    /// The chart.
    pub chart: Chart,
}

impl Question {
    /// Its name on the command line, in the names of files and in the marks of the README.
    pub fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }

    /// Measures what it takes to answer.
    ///
    /// # Errors
    /// Where a server does not start, is not prepared, or does not answer as it should.
    pub async fn ask(self, suite: &Suite, stores: &mut Stores) -> Result<Answer, BenchError> {
        match self {
            Self::Connections => connections::ask(suite, stores).await,
            Self::Latency => latency::ask(suite, stores).await,
            Self::Ingest => ingest::ask(suite, stores).await,
            Self::Arrays => arrays::ask(suite, stores).await,
            Self::Organizations => organizations::ask(suite, stores).await,
            Self::Ids => ids::ask(suite, stores).await,
            Self::Memory => memory::ask(suite, stores).await,
            Self::StartUp => start_up::ask(suite, stores).await,
            Self::Reads => reads::ask(suite, stores).await,
            Self::Pages => pages::ask(suite, stores).await,
            Self::Disk => disk::ask(suite, stores).await,
            Self::Cluster => cluster::ask(suite, stores).await,
        }
    }
}

impl Answer {
    fn new(suite: &Suite, title: &str, table: &str, targets: &[String], panels: Vec<Panel>) -> Self {
        let when = when();
        let markdown = format!("{when}; {}\n\n{table}\n{}", suite.conditions(), targets.concat());
        Self { markdown: markdown.trim_end().to_owned(), chart: Chart { title: title.into(), subtitle: when, panels } }
    }
}

/// Curves with marks.
fn curves(x: (&str, Scale), y: (&str, Scale), series: Vec<Series>) -> Panel {
    Panel { x: Axis::new(x.0, x.1), y: Axis::new(y.0, y.1), marks: Marks::Points, series }
}

/// Bars from 0, one for each name.
fn bars(y: &str, names: &[String], series: Vec<Series>) -> Panel {
    Panel { x: Axis::new("", Scale::Names(names.to_vec())), y: Axis::new(y, Scale::Linear), marks: Marks::Bars, series }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_question_has_a_section_in_the_readme() {
        let readme = include_str!("../README.md");
        for question in Question::value_variants() {
            let name = question.name();
            for text in [format!("<!-- {name}:begin -->"), format!("<!-- {name}:end -->"), format!("--question {name}")]
            {
                assert!(readme.contains(&text), "{text}");
            }
        }
    }
}
