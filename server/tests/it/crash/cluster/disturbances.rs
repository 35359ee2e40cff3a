//! What happens to nodes and to their lines.

use std::thread;
use std::time::Duration;

use metergate::store::postgres::SCHEMA;
use metergate_rules::time::MINUTE;
use serde_json::json;

use super::super::history::History;
use super::nodes::{Node, Nodes};
use crate::proxy::{Proxy, Way};
use crate::store::Random;

/// What commits look like on the line: the end of a transaction, apart from the words with which one begins, and the call that
/// is one by itself, by two of its last values: the schema that a program knows, and the length of its connection's mark.
pub(super) const COMMITS: [&[u8]; 2] = [b"COMMIT\0", &[0, 0, 0, 4, 0, 0, 0, SCHEMA as u8, 0, 0, 0, 16]];

/// How many replies are lost, one after the other.
const REPLIES: usize = 4;

/// Each of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Disturbance {
    /// `kill -9`; it comes again with a clock that is minutes off.
    Killed,
    /// Nothing arrives, either way, and nobody hears that; later all of it does.
    Silent,
    /// The same one way.
    Deaf(Way),
    /// Everything takes longer.
    Slow,
    /// All connections end, and nobody can connect.
    Away,
    /// The same, for moments.
    Flapping,
    /// Connections end in the middle of something.
    Torn,
    /// The next commit does not arrive.
    CommitLost,
    /// The next commits arrive, and their replies do not.
    ReplyLost,
    /// Nothing arrives from or at Redis.
    RedisSilent,
    /// Redis is as good as gone.
    RedisAway,
    /// A reply of Redis is lost.
    RedisReplyLost,
    /// What Redis is asked arrives again, later.
    RedisTwice,
    /// Redis takes longer than is waited for.
    RedisSlow,
    /// Nothing at all.
    Nothing,
}

use Disturbance::{
    Away, CommitLost, Deaf, Flapping, Killed, Nothing, RedisAway, RedisReplyLost, RedisSilent, RedisSlow, RedisTwice,
    ReplyLost, Silent, Slow, Torn,
};

/// Those of one round, so that each happens.
const DECK: [Disturbance; 19] = [
    Killed,
    Silent,
    ReplyLost,
    RedisSilent,
    Deaf(Way::ToServer),
    Killed,
    CommitLost,
    RedisAway,
    Slow,
    ReplyLost,
    Deaf(Way::ToClient),
    RedisReplyLost,
    Away,
    Killed,
    Flapping,
    RedisTwice,
    Torn,
    RedisSlow,
    Nothing,
];

/// Goes through them in an order of the seed's, each on a node of the seed's; what a node has it keeps until its next turn.
pub(super) fn disturb(nodes: &Nodes, history: &History, random: &mut Random) {
    let mut deck = DECK.to_vec();
    while !deck.is_empty() {
        let drawn = usize::try_from(random.below(i64::try_from(deck.len()).unwrap())).unwrap();
        let what = deck.swap_remove(drawn);
        let at = usize::try_from(random.below(i64::try_from(nodes.all.len()).unwrap())).unwrap();
        let pause = 100 + random.below(900);
        history.note(&json!({"node": at, "disturbance": format!("{what:?}"), "milliseconds": pause}));
        let node = &nodes.all[at];
        node.heal();
        what.happens(node, random);
        thread::sleep(Duration::from_millis(pause.unsigned_abs()));
    }
    // Where nothing else is wrong, it is surely callers whose replies are lost.
    for node in &nodes.all {
        node.heal();
        ReplyLost.happens(node, random);
        thread::sleep(Duration::from_millis(400));
    }
}

impl Disturbance {
    fn happens(self, node: &Node, random: &mut Random) {
        let Node { postgres, redis, .. } = node;
        match self {
            Killed => {
                let off = (random.below(31) - 15) * MINUTE;
                node.kill();
                thread::sleep(Duration::from_millis(random.below(300).unsigned_abs()));
                node.start(off);
            }
            Silent => postgres.hold(),
            Deaf(way) => postgres.hold_one_way(way),
            Slow => postgres.delay(Duration::from_millis(20 + random.below(200).unsigned_abs())),
            Away => away(postgres),
            Flapping => postgres.flap(3, Duration::from_millis(60)),
            Torn => postgres.cut_after(usize::try_from(random.below(20_000)).unwrap()),
            CommitLost => postgres.lose(&COMMITS),
            ReplyLost => (0..REPLIES).for_each(|_| postgres.lose_reply_of(&COMMITS)),
            RedisSilent => redis.hold(),
            RedisAway => away(redis),
            RedisReplyLost => redis.lose_reply_of(&[b"EVALSHA"]),
            RedisTwice => redis.repeat(b"EVALSHA", Duration::from_millis(random.below(3000).unsigned_abs())),
            RedisSlow => redis.delay(Duration::from_millis(400)),
            Nothing => {}
        }
    }
}

fn away(proxy: &Proxy) {
    proxy.refuse();
    proxy.cut();
}
