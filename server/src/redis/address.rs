//! Where a Redis is, as the setting says it.

/// Servers that may be named.
const MOST_NODES: usize = 32;
/// What stands in the message of an address that is not allowed.
const FORMS: &str = "must be redis://host:6379, redis+sentinel://host:26379,host:26379/master or redis+cluster://host:6379,host:6379, \
                     with rediss for TLS and user:password@ before the hosts where needed";

/// How the servers belong together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// One server.
    Single,
    /// Sentinels that know the master of this name.
    Sentinel(String),
    /// Masters that share the keys.
    Cluster,
}

/// Where a Redis is. It may hold a password, so it has no `Debug`.
#[derive(Clone)]
pub struct Address {
    pub(super) form: Form,
    tls: bool,
    /// `user:password@`, as written; empty without.
    credentials: String,
    /// `host` or `host:port`, of the Sentinels or of some servers of the cluster.
    pub(super) nodes: Vec<String>,
    /// The number of the database, after a slash, where one is named.
    database: String,
}

impl Address {
    /// Reads the setting.
    ///
    /// # Errors
    /// What is allowed, where it is something else. The text may hold a password, so it is not repeated.
    pub fn parse(text: &str) -> Result<Self, String> {
        Self::of(text).ok_or_else(|| FORMS.to_owned())
    }

    fn of(text: &str) -> Option<Self> {
        let (scheme, rest) = text.split_once("://")?;
        let (protocol, form) = scheme.split_once('+').unwrap_or((scheme, ""));
        let tls = match protocol {
            "redis" => false,
            "rediss" => true,
            _ => return None,
        };
        let (credentials, rest) = match rest.rsplit_once('@') {
            Some((credentials, rest)) => (format!("{credentials}@"), rest),
            None => (String::new(), rest),
        };
        let (nodes, path) = rest.split_once('/').unwrap_or((rest, ""));
        let nodes: Vec<String> = nodes.split(',').map(str::to_owned).collect();
        let plain = |part: &str| part.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._:[]".contains(&b));
        if nodes.len() > MOST_NODES || nodes.iter().any(|node| node.is_empty() || !plain(node)) {
            return None;
        }
        let (form, database) = match form {
            "" if nodes.len() == 1 => (Form::Single, path),
            "cluster" if path.is_empty() => (Form::Cluster, ""),
            "sentinel" => {
                let (master, database) = path.split_once('/').unwrap_or((path, ""));
                let is_name = !master.is_empty() && plain(master);
                (is_name.then(|| Form::Sentinel(master.to_owned()))?, database)
            }
            _ => return None,
        };
        let is_number = database.is_empty() || database.parse::<u16>().is_ok();
        let database = if database.is_empty() { String::new() } else { format!("/{database}") };
        let address = Self { form, tls, credentials, nodes, database };
        // The client has the last word on hosts, ports and credentials.
        let understood = address.nodes.iter().all(|node| redis::Client::open(address.server(node)).is_ok());
        (is_number && understood).then_some(address)
    }

    /// The address of one of its servers, as the client takes it.
    pub(super) fn server(&self, node: &str) -> String {
        let (scheme, credentials, database) = (self.scheme(), &self.credentials, &self.database);
        format!("{scheme}://{credentials}{node}{database}")
    }

    /// The address of a Sentinel: the credentials are those of the servers that it watches.
    pub(super) fn watcher(&self, node: &str) -> String {
        format!("{}://{node}", self.scheme())
    }

    const fn scheme(&self) -> &'static str {
        if self.tls { "rediss" } else { "redis" }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_server_sentinels_and_a_cluster_are_told_apart() {
        let master = || Form::Sentinel("main".to_owned());
        #[rustfmt::skip]
        let rows = [
            ("redis://127.0.0.1", Form::Single, "redis://127.0.0.1"),
            ("redis://cache:6380/2", Form::Single, "redis://cache:6380/2"),
            ("rediss://me:pa%40ss@[::1]:6379", Form::Single, "rediss://me:pa%40ss@[::1]:6379"),
            ("redis+sentinel://a:1,b:2,c:3/main", master(), "redis://a:1"),
            ("rediss+sentinel://:secret@a:1,b:2/main/3", master(), "rediss://:secret@a:1/3"),
            ("redis+cluster://a:1,b:2", Form::Cluster, "redis://a:1"),
            ("rediss+cluster://me:x@a", Form::Cluster, "rediss://me:x@a"),
        ];
        for (text, form, first) in rows {
            let address = Address::parse(text).unwrap_or_else(|why| panic!("{text}: {why}"));
            assert_eq!((&address.form, address.server(&address.nodes[0]).as_str()), (&form, first), "{text}");
        }
        let sentinels = Address::parse("rediss+sentinel://me:x@a:1,b/main").ok().unwrap();
        assert_eq!(sentinels.watcher(&sentinels.nodes[1]), "rediss://b");
    }

    #[test]
    fn everything_else_is_refused_and_not_repeated() {
        let rows = [
            "",
            "cache:6379",
            "http://cache",
            "redis://",
            "redis://a:1,b:2",
            "redis+sentinel://a:1",
            "redis+sentinel://a:1/",
            "redis+cluster://a:1/0",
            "redis+cluster://a:1,",
            "redis+ring://a",
            "redis://a:canary",
            "redis://a/canary",
            "redis://a b",
        ];
        for text in rows {
            let why = Address::parse(text).err().unwrap_or_else(|| panic!("{text} is taken"));
            assert!(!why.contains("canary"), "{text}: {why}");
        }
    }
}
