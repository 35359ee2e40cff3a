//! `metergate config`, and the flags that every setting has.

use std::sync::LazyLock;

use clap::{Arg, ArgMatches, Command};
use serde_json::json;

use super::Ending;
use super::screen::{Align, Screen, Table};
use crate::config::{Config, ConfigError, SETTINGS, Setting, Sources};

#[derive(clap::Args)]
pub(super) struct Options {
    #[command(flatten)]
    flags: SettingFlags,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(options: &Options, screen: &dyn Screen) -> anyhow::Result<Ending> {
    let config = options.flags.config()?;
    screen.print(&if options.json { as_json(&config) } else { as_table(&config) });
    Ok(Ending::Done)
}

fn as_table(config: &Config) -> String {
    let mut table = Table::new(&[("name", Align::Left), ("value", Align::Left), ("source", Align::Left)]);
    for (setting, value, origin) in config.shown() {
        table.row(vec![setting.name.to_owned(), value, origin.to_string()]);
    }
    table.text()
}

fn as_json(config: &Config) -> String {
    let entry = |(setting, value, origin): (&Setting, String, crate::config::Origin)| {
        json!({"name": setting.name, "value": value, "source": origin.to_string(), "description": setting.doc.trim(),
               "variables": setting.variables, "default": setting.default})
    };
    let data: Vec<_> = config.shown().into_iter().map(entry).collect();
    format!("{:#}", json!({ "data": data }))
}

/// `--config` and one flag for each setting that is no secret.
pub(super) struct SettingFlags {
    file: Option<String>,
    values: Vec<(&'static str, String)>,
}

impl SettingFlags {
    /// The configuration in force with these flags.
    pub(super) fn config(&self) -> Result<Config, ConfigError> {
        Config::read(&Sources::process(self.file.clone(), self.values.clone()))
    }
}

/// The settings that have a flag, with its name.
static FLAGS: LazyLock<Vec<(&'static Setting, String)>> = LazyLock::new(|| {
    let open = SETTINGS.iter().filter(|setting| !setting.secret);
    open.map(|setting| (setting, setting.name.replace('_', "-"))).collect()
});

impl clap::FromArgMatches for SettingFlags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let given = |name: &'static str| Some((name, matches.get_one::<String>(name)?.clone()));
        let values = FLAGS.iter().filter_map(|(setting, _)| given(setting.name)).collect();
        Ok(Self { file: matches.get_one::<String>("config").cloned(), values })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl clap::Args for SettingFlags {
    fn augment_args(command: Command) -> Command {
        let file = Arg::new("config").long("config").value_name("FILE");
        let command =
            command.arg(file.help("The configuration file [env: METERGATE_CONFIG; else metergate.toml here]"));
        command.args(FLAGS.iter().map(|(setting, flag)| {
            let arg = Arg::new(setting.name).long(flag.as_str()).value_name("VALUE").help(setting.doc.trim());
            match setting.default {
                "true" | "false" => arg.num_args(0..=1).default_missing_value("true"),
                _ => arg,
            }
        }))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}
