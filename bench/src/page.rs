//! Where results are kept: charts as files, tables in the README between marks that name the question.

use std::fs;
use std::path::Path;

use crate::chart::Chart;
use crate::error::BenchError;

/// Writes the chart `results/NAME.svg` in `folder`, and the chart with `markdown` between the marks of `name` in the README
/// there.
///
/// # Errors
/// [`BenchError::Io`] where that is not possible, [`BenchError::NoMarks`] where the README has no such marks.
pub fn keep(folder: &Path, name: &str, chart: &Chart, markdown: &str) -> Result<(), BenchError> {
    let (results, readme) = (folder.join("results"), folder.join("README.md"));
    let io = |path: &Path| BenchError::io(path.display().to_string());
    fs::create_dir_all(&results).map_err(io(&results))?;
    let file = results.join(format!("{name}.svg"));
    fs::write(&file, chart.svg()).map_err(io(&file))?;
    let text = fs::read_to_string(&readme).map_err(io(&readme))?;
    let section = format!("![{}](results/{name}.svg)\n\n{}", chart.title, markdown.trim_end());
    let text = replaced(&text, name, &section).ok_or_else(|| BenchError::NoMarks(name.to_owned()))?;
    fs::write(&readme, text).map_err(io(&readme))
}

/// `text` with other content between the marks of `name`.
fn replaced(text: &str, name: &str, section: &str) -> Option<String> {
    let (begin, end) = (format!("<!-- {name}:begin -->\n"), format!("\n<!-- {name}:end -->"));
    let start = text.find(&begin)? + begin.len();
    // One back: between empty marks the line break before the end is the one after the beginning.
    let stop = start - 1 + text[start - 1..].find(&end)?;
    Some(format!("{}{section}{}", &text[..start], &text[stop..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_section_is_replaced_between_its_marks_alone() {
        let text = "a\n<!-- x:begin -->\nold\n<!-- x:end -->\nb\n<!-- y:begin -->\n<!-- y:end -->\n";
        let new = replaced(text, "x", "new\nlines").unwrap();
        assert_eq!(new, "a\n<!-- x:begin -->\nnew\nlines\n<!-- x:end -->\nb\n<!-- y:begin -->\n<!-- y:end -->\n");
        assert_eq!(replaced(&new, "x", "old").unwrap(), text);
        assert!(replaced(text, "y", "1").unwrap().ends_with("<!-- y:begin -->\n1\n<!-- y:end -->\n"));
        assert_eq!(replaced(text, "z", "1"), None);
    }

    #[test]
    fn chart_and_table_are_kept_where_the_readme_says() {
        let folder = tempfile::TempDir::new().unwrap();
        let readme = folder.path().join("README.md");
        fs::write(&readme, "# Bench\n<!-- ids:begin -->\n<!-- ids:end -->\n").unwrap();
        let chart = Chart { title: "Ids".into(), subtitle: String::new(), panels: Vec::new() };
        keep(folder.path(), "ids", &chart, "| a |\n").unwrap();
        let text = fs::read_to_string(&readme).unwrap();
        assert!(text.contains("<!-- ids:begin -->\n![Ids](results/ids.svg)\n\n| a |\n<!-- ids:end -->"), "{text}");
        assert!(fs::read_to_string(folder.path().join("results/ids.svg")).unwrap().starts_with("<svg"));
        assert!(matches!(keep(folder.path(), "other", &chart, ""), Err(BenchError::NoMarks(_))));
    }
}
