//! Tables in Markdown.

/// Rows of cells under names.
#[derive(Clone, Debug)]
pub struct Table {
    names: Vec<String>,
    rows: Vec<Vec<String>>,
}

/// What stands where there is no figure.
pub const NONE: &str = "–";

impl Table {
    /// Without rows.
    pub fn new(names: &[&str]) -> Self {
        Self { names: names.iter().map(|name| (*name).to_owned()).collect(), rows: Vec::new() }
    }

    /// Adds a row, a cell for each name.
    pub fn push(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }

    /// The text. A column in which no row has a figure is left out.
    pub fn markdown(&self) -> String {
        let said = |column: &usize| self.rows.iter().any(|row| row.get(*column).is_some_and(|cell| cell != NONE));
        let columns: Vec<usize> = (0..self.names.len()).filter(said).collect();
        let line = |cells: &[String]| {
            let cells: Vec<&str> = columns.iter().map(|column| cells.get(*column).map_or("", |cell| cell)).collect();
            format!("| {} |\n", cells.join(" | "))
        };
        let rule = format!("|{}\n", " --- |".repeat(columns.len()));
        let rows: String = self.rows.iter().map(|row| line(row)).collect();
        line(&self.names) + &rule + &rows
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_without_a_figure_are_left_out() {
        let mut table = Table::new(&["what", "empty", "ops/s"]);
        table.push(vec!["echo".into(), NONE.into(), "1".into()]);
        table.push(vec!["consume".into(), NONE.into(), NONE.into()]);
        assert_eq!(table.markdown(), "| what | ops/s |\n| --- | --- |\n| echo | 1 |\n| consume | – |\n");
    }
}
