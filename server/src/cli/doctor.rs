//! `metergate doctor`: goes through a data folder that no server uses, and says what is wrong.

use serde_json::json;

use super::Ending;
use super::folder::FolderOptions;
use super::restore::told;
use super::screen::Screen;
use crate::folder::Locked;
use crate::store::examine::examine;

pub(super) fn run(options: &FolderOptions, screen: &dyn Screen) -> anyhow::Result<Ending> {
    let data = options.data.path()?;
    let _locked = Locked::with_store(&data)?;
    let examined = examine(&data, &|| true)?;
    let well = examined.findings.is_empty();
    if options.json {
        let told = json!({"folder": data, "well": well, "counts": examined.census, "findings": examined.findings});
        screen.print(&told.to_string());
    } else if well {
        screen.print(&format!("{} is well", data.display()));
        screen.print(&told(&examined.census));
    } else {
        examined.findings.iter().for_each(|finding| screen.print(finding));
        let advice = "what to do: keep the folder as it is, and restore the newest backup into another";
        screen.note(&format!("{} is damaged; {advice}", data.display()));
    }
    Ok(if well { Ending::Done } else { Ending::Failed })
}
