//! Which source wins, what is refused, and what is shown.

use super::*;

/// A configuration from a file's content, variables and flags.
fn read(content: &str, variables: &[(&str, &str)], flags: &[(&'static str, &str)]) -> Result<Config, ConfigError> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("metergate.toml");
    std::fs::write(&file, content).unwrap();
    let environment = |name: &str| variables.iter().find(|(n, _)| *n == name).map(|(_, value)| value.into());
    let flags = flags.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
    Config::read(&Sources {
        file: Some(file.to_str().unwrap().to_owned()),
        usual_file: "",
        environment: &environment,
        flags,
    })
}

/// The message of a refused configuration, without the folder of its file.
fn refused(content: &str, variables: &[(&str, &str)], flags: &[(&'static str, &str)]) -> String {
    let message = read(content, variables, flags).err().unwrap().to_string();
    message.rsplit_once("/metergate.toml").map_or(message.clone(), |(_, rest)| format!("metergate.toml{rest}"))
}

#[test]
fn the_defaults_are_valid() {
    let config = Config::defaults().ok().unwrap();
    assert_eq!(config.listen.to_string(), "127.0.0.1:8080");
    assert_eq!(config.max_body_bytes, 16 << 20);
    assert_eq!(config.drain_timeout_seconds, Duration::from_secs(30));
    assert!(config.cores >= 1 && config.admin_key.is_none() && !config.auto_create_organizations);
    assert!(config.shown().iter().all(|(_, _, origin)| *origin == Origin::Default));
}

#[test]
fn a_flag_wins_over_a_variable_over_the_file_over_the_default() {
    let file = "# a comment\nmax_connections = 1_000\n";
    let variable = [("METERGATE_MAX_CONNECTIONS", "2000")];
    let cases = [
        (read("", &[], &[]), 10_000, "default"),
        (read(file, &[], &[]), 1_000, "line 2"),
        (read(file, &variable, &[]), 2_000, "environment METERGATE_MAX_CONNECTIONS"),
        (read(file, &variable, &[("max_connections", "3000")]), 3_000, "flag"),
        (read(file, &[("METERGATE_MAX_CONNECTIONS", "")], &[]), 1_000, "line 2"),
    ];
    for (config, value, origin) in cases {
        let config = config.ok().unwrap();
        assert_eq!(config.max_connections, value);
        assert!(config.origin("max_connections").to_string().ends_with(origin), "{origin}");
    }
}

#[test]
fn keys_may_have_hyphens_and_values_the_type_that_suits() {
    let config = read("data-dir = \"d\"\nauto-create-organizations = true\nlog-format = 'json'\ncores = 2", &[], &[]);
    let config = config.ok().unwrap();
    assert_eq!(config.data_dir, PathBuf::from("d"));
    assert!(config.auto_create_organizations);
    assert_eq!((config.log_format, config.cores), (LogFormat::Json, 2));
}

#[test]
fn what_is_not_allowed_is_refused_with_its_place_and_what_is() {
    #[rustfmt::skip]
    let cases = [
        (refused("\nlisten = 'here'", &[], &[]),
         "metergate.toml, line 2: listen must be an IP address and a port, such as 127.0.0.1:8080 or [::]:8080"),
        (refused("listen = [1]", &[], &[]), "metergate.toml, line 1: listen must be a text, a whole number, true or false"),
        (refused("cores = 1.5", &[], &[]), "metergate.toml, line 1: cores must be a text, a whole number, true or false"),
        (refused("cores = 0", &[], &[]), "metergate.toml, line 1: cores must be a whole number from 1 to 1024"),
        (refused("data_dir = 'a'\ndata-dir = 'b'", &[], &[]), "metergate.toml, line 2: data_dir is set twice"),
        (refused("", &[("QUOTA_PRO_PER_DAY", "-1")], &[]),
         "quota_pro_per_day (environment QUOTA_PRO_PER_DAY) must be a whole number from 1 to 9223372036854775807"),
        (refused("", &[("METERGATE_ADMIN_KEY", "canary")], &[]),
         "admin_key (environment METERGATE_ADMIN_KEY) must have 32 to 255 printable ASCII characters, no spaces"),
        (refused("", &[], &[("rate_limit_headers", "all")]), "rate_limit_headers (flag) must be one of both, ietf, x, none"),
        (refused("", &[("REDIS_URL", "redis://:canary@a:1,b:2")], &[]),
         "redis_url (environment REDIS_URL) must be redis://host:6379, redis+sentinel://host:26379,host:26379/master or \
          redis+cluster://host:6379,host:6379, with rediss for TLS and user:password@ before the hosts where needed"),
        (refused("redis_prefix = 'a{b}'", &[], &[]),
         "metergate.toml, line 1: redis_prefix must be 1 to 64 letters, digits, hyphens, dots and underscores"),
        (refused("", &[], &[("public_url", "usage.example.com")]),
         "public_url (flag) must be an address such as https://usage.example.com, without query or fragment"),
    ];
    for (message, expected) in cases {
        assert_eq!(message, expected);
    }
    assert!(
        refused("\n\nport = 1", &[], &[]).starts_with("metergate.toml, line 3: unknown key \"port\"; known keys are")
    );
    assert!(refused("a b", &[], &[]).starts_with("metergate.toml, line 1: "));
    let missing = Sources { file: Some("no/such.toml".to_owned()), ..Sources::none() };
    assert!(matches!(Config::read(&missing), Err(ConfigError::Unreadable { .. })));
}

#[test]
fn a_secret_is_never_shown() {
    let canary = "canary-0123456789-0123456789-0123456789";
    let config = read("", &[("METERGATE_ADMIN_KEY", canary)], &[]).ok().unwrap();
    assert_eq!(config.admin_key.as_ref().map(Secret::expose), Some(canary));
    let shown = config.shown();
    let (setting, value, _) = shown.iter().find(|(setting, ..)| setting.name == "admin_key").unwrap();
    assert!(setting.secret && value == "(set)");
    let defaults = Config::defaults().ok().unwrap().shown();
    assert!(defaults.iter().any(|(setting, value, _)| setting.name == "admin_key" && value == "(not set)"));
}
