//! A Redis Cluster that a test may treat as it likes.

use std::time::Duration;

use super::{OwnRedis, free_port};

/// The slots of each master.
const SLOTS: [(u16, u16); 3] = [(0, 5460), (5461, 10922), (10923, 16383)];
/// One that takes longer to come to something hangs: so many looks, and how long is rested in between.
const LOOKS: usize = 1500;
const REST: Duration = Duration::from_millis(20);

/// Three masters with a third of the slots each. They are killed when this goes.
pub(crate) struct OwnCluster {
    masters: Vec<OwnRedis>,
    /// Of the first of them.
    replica: Option<OwnRedis>,
}

impl OwnCluster {
    /// An empty one. Its servers take another for gone when that has been silent for so many milliseconds; the slots of others
    /// go on then.
    pub(crate) fn start(with_replica: bool, silent: u32) -> Self {
        let mut cluster = Self { masters: SLOTS.map(|_| server(silent)).into(), replica: None };
        for (number, (master, (first, last))) in cluster.masters.iter().zip(SLOTS).enumerate() {
            let [first, last] = [first, last].map(|slot| slot.to_string());
            assert_eq!(master.ask(&["CLUSTER", "ADDSLOTSRANGE", &first, &last]), "OK");
            assert_eq!(master.ask(&["CLUSTER", "SET-CONFIG-EPOCH", &(number + 1).to_string()]), "OK");
        }
        cluster.masters[1..].iter().for_each(|master| cluster.meet(master));
        cluster.comes_together();
        if with_replica {
            cluster.replica = Some(server(silent));
            cluster.meet(cluster.replica());
            cluster.comes_together();
            let id = cluster.masters[0].ask(&["CLUSTER", "MYID"]);
            assert_eq!(cluster.replica().ask(&["CLUSTER", "REPLICATE", &id]), "OK");
            let is_there = || cluster.replica().ask(&["INFO", "REPLICATION"]).contains("master_link_status:up");
            becomes("the replica has what its master has", is_there);
        }
        cluster
    }

    fn all(&self) -> impl Iterator<Item = &OwnRedis> {
        self.masters.iter().chain(&self.replica)
    }

    /// The first gets to know it.
    fn meet(&self, other: &OwnRedis) {
        let (host, port) = other.address.rsplit_once(':').unwrap();
        let bus = other.options.iter().skip_while(|option| *option != "--cluster-port").nth(1).unwrap();
        assert_eq!(self.masters[0].ask(&["CLUSTER", "MEET", host, port, bus]), "OK");
    }

    /// Waits until each knows all of the others, and who has which slots.
    fn comes_together(&self) {
        let known = format!("cluster_known_nodes:{}\r", self.all().count());
        becomes("all know each other", || {
            self.all().all(|one| {
                let info = one.ask(&["CLUSTER", "INFO"]);
                info.contains("cluster_state:ok") && info.contains(&known) && info.contains("cluster_slots_ok:16384")
            })
        });
    }

    /// Where it is, as a setting says it.
    pub(crate) fn url(&self) -> String {
        let addresses: Vec<&str> = self.masters.iter().map(|master| master.address.as_str()).collect();
        format!("redis+cluster://{}", addresses.join(","))
    }

    /// The number of the master that has a key.
    pub(crate) fn master_of(&self, key: &str) -> usize {
        let slot: u16 = self.masters[2].ask(&["CLUSTER", "KEYSLOT", key]).parse().expect("a slot");
        SLOTS.iter().position(|(first, last)| (*first..=*last).contains(&slot)).expect("a master has it")
    }

    /// The replica of the first master.
    pub(crate) fn replica(&self) -> &OwnRedis {
        self.replica.as_ref().expect("it has a replica")
    }

    pub(crate) fn first(&self) -> &OwnRedis {
        &self.masters[0]
    }

    /// Waits until the replica has all that the first master has.
    pub(crate) fn is_replicated(&self) {
        becomes("the replica has all of it", || super::replica_has_all(&self.masters[0].address));
    }

    /// `kill -9` of the first master.
    pub(crate) fn kill_first(&mut self) {
        self.masters[0].kill();
    }

    /// After [`Self::kill_first`]: it comes again at the same address, with its slots and nothing else.
    pub(crate) fn start_first_again(&mut self) {
        self.masters[0].start_again();
    }

    /// Waits until the others take the first master for gone.
    pub(crate) fn misses_first(&self, id: &str) {
        let is_missed = |one: &OwnRedis| {
            one.ask(&["CLUSTER", "NODES"]).lines().any(|line| line.starts_with(id) && line.contains(" master,fail "))
        };
        becomes("the others miss it", || self.masters[1..].iter().all(is_missed));
    }

    /// The replica takes the place of the first master.
    pub(crate) fn promote(&self) {
        assert_eq!(self.replica().ask(&["CLUSTER", "FAILOVER", "TAKEOVER"]), "OK");
        becomes("it is a master", || self.replica().ask(&["ROLE"]).starts_with("master"));
    }
}

/// One that is in no cluster yet.
fn server(silent: u32) -> OwnRedis {
    let (port, silent) = (free_port(), silent.to_string());
    let (address, bus, port) = (format!("127.0.0.1:{port}"), free_port().to_string(), port.to_string());
    let options = [
        ("--port", port.as_str()),
        ("--cluster-enabled", "yes"),
        ("--cluster-port", &bus),
        ("--cluster-node-timeout", &silent),
        ("--cluster-require-full-coverage", "no"),
        ("--repl-diskless-sync-delay", "0"),
    ];
    OwnRedis::with(address, options.into_iter().flat_map(|(name, value)| [name, value]).map(str::to_owned).collect())
}

fn becomes(what: &str, holds: impl Fn() -> bool) {
    let came = (0..LOOKS).any(|_| {
        let is_so = holds();
        if !is_so {
            std::thread::sleep(REST);
        }
        is_so
    });
    assert!(came, "{what}: not within {LOOKS} looks");
}
