//! Where settings come from, and which source wins.

use std::ffi::OsString;
use std::fmt;

use super::{SETTINGS, Setting, file};

/// Where the value of a setting comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Nothing sets it.
    Default,
    /// A line of a file.
    File {
        /// The file, as it was named.
        file: String,
        /// The line, counted from 1.
        line: usize,
    },
    /// The environment variable of this name.
    Environment(&'static str),
    /// A flag of the command line.
    Flag,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { file, line } => write!(f, "file {file}, line {line}"),
            Self::Environment(variable) => write!(f, "environment {variable}"),
            Self::Flag => f.write_str("flag"),
        }
    }
}

/// Why a configuration is refused. No message holds the value: it may be a secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// The file that was named cannot be read.
    #[error("cannot read the configuration file {file}: {reason}")]
    Unreadable {
        /// The file, as it was named.
        file: String,
        /// What the system says.
        reason: String,
    },
    /// A line of the file is not allowed.
    #[error("{file}, line {line}: {reason}")]
    File {
        /// The file, as it was named.
        file: String,
        /// The line, counted from 1.
        line: usize,
        /// What is wrong and what is allowed.
        reason: String,
    },
    /// A value is not allowed.
    #[error("{name} ({origin}) {reason}")]
    Value {
        /// The setting.
        name: &'static str,
        /// Where the value comes from.
        origin: Origin,
        /// What is allowed.
        reason: String,
    },
}

/// What the settings are read from.
pub struct Sources<'a> {
    /// The file named by `--config`.
    pub file: Option<String>,
    /// The file to read where none is named and this one is there.
    pub usual_file: &'static str,
    /// The value of an environment variable.
    pub environment: &'a dyn Fn(&str) -> Option<OsString>,
    /// The settings that flags give, by name.
    pub flags: Vec<(&'static str, String)>,
}

impl Sources<'static> {
    /// The process's own environment, and `metergate.toml` in the working folder.
    pub fn process(file: Option<String>, flags: Vec<(&'static str, String)>) -> Self {
        Self { file, usual_file: "metergate.toml", environment: &|name| std::env::var_os(name), flags }
    }

    /// Nothing at all.
    pub fn none() -> Self {
        Self { file: None, usual_file: "", environment: &|_| None, flags: Vec::new() }
    }
}

/// A value before it is parsed.
pub(super) struct Text {
    pub(super) text: String,
    pub(super) origin: Origin,
}

/// The text of every setting, in the order of [`SETTINGS`].
pub(super) struct Texts(Vec<Text>);

impl Sources<'_> {
    pub(super) fn texts(&self) -> Result<Texts, ConfigError> {
        let mut from_file = self.read_file()?;
        let mut take = |name: &str| {
            let place = from_file.iter().position(|(other, _)| *other == name)?;
            Some(from_file.swap_remove(place).1)
        };
        let pick = |setting: &Setting| {
            let file = take(setting.name);
            let over = self.in_flags(setting).map_or_else(|| self.in_environment(setting), |flag| Ok(Some(flag)))?;
            let default = || Text { text: setting.default.to_owned(), origin: Origin::Default };
            Ok(over.or(file).unwrap_or_else(default))
        };
        SETTINGS.iter().map(pick).collect::<Result<_, _>>().map(Texts)
    }

    fn in_flags(&self, setting: &Setting) -> Option<Text> {
        let given = self.flags.iter().find(|(name, _)| *name == setting.name)?;
        Some(Text { text: given.1.clone(), origin: Origin::Flag })
    }

    /// The first variable of the setting that is there; an empty one is as good as none.
    fn in_environment(&self, setting: &Setting) -> Result<Option<Text>, ConfigError> {
        for variable in setting.variables {
            let origin = Origin::Environment(variable);
            match (self.environment)(variable).map(OsString::into_string) {
                Some(Ok(text)) if !text.is_empty() => return Ok(Some(Text { text, origin })),
                Some(Err(_)) => {
                    let reason = "must be UTF-8 text".to_owned();
                    return Err(ConfigError::Value { name: setting.name, origin, reason });
                }
                _ => {}
            }
        }
        Ok(None)
    }

    fn read_file(&self) -> Result<Vec<(&'static str, Text)>, ConfigError> {
        let named = self.file.clone().or_else(|| {
            let variable = (self.environment)("METERGATE_CONFIG").filter(|path| !path.is_empty());
            variable.map(|path| path.to_string_lossy().into_owned())
        });
        let path = named.as_deref().unwrap_or(self.usual_file);
        match std::fs::read_to_string(path) {
            Ok(content) => file::read(path, &content),
            Err(error) if named.is_none() && error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(ConfigError::Unreadable { file: path.to_owned(), reason: error.to_string() }),
        }
    }
}

impl Texts {
    pub(super) fn parse<T>(
        &self,
        name: &'static str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Result<T, ConfigError> {
        let place = SETTINGS.iter().position(|setting| setting.name == name);
        let Some(Text { text, origin }) = place.and_then(|i| self.0.get(i)) else {
            return Err(ConfigError::Value { name, origin: Origin::Default, reason: "is not in the table".to_owned() });
        };
        parse(text).map_err(|reason| match origin {
            Origin::File { file, line } => {
                ConfigError::File { file: file.clone(), line: *line, reason: format!("{name} {reason}") }
            }
            origin => ConfigError::Value { name, origin: origin.clone(), reason },
        })
    }

    pub(super) fn origins(self) -> Vec<Origin> {
        self.0.into_iter().map(|text| text.origin).collect()
    }
}
