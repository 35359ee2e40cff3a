//! Scripts, by their hashes. A Redis that does not know one is sent its text, and has done nothing until then.

use redis::aio::ConnectionLike;
use redis::{FromRedisValue, RedisResult};

/// A script.
pub(super) struct Script {
    text: String,
    hash: String,
}

impl Script {
    pub(super) fn new(text: impl Into<String>) -> Self {
        let text = text.into();
        let hash = redis::Script::new(&text).get_hash().to_owned();
        Self { text, hash }
    }

    /// # Errors
    /// What Redis or the connection says.
    pub(super) async fn run<T: FromRedisValue>(
        &self,
        mut connection: impl ConnectionLike,
        keys: &[String],
        arguments: &[String],
    ) -> RedisResult<T> {
        let by_hash = command("EVALSHA", &self.hash, keys, arguments);
        match by_hash.query_async(&mut connection).await {
            Err(error) if error.code() == Some("NOSCRIPT") => {
                command("EVAL", &self.text, keys, arguments).query_async(&mut connection).await
            }
            answered => answered,
        }
    }
}

fn command(name: &str, script: &str, keys: &[String], arguments: &[String]) -> redis::Cmd {
    let mut command = redis::cmd(name);
    command.arg(script).arg(keys.len()).arg(keys).arg(arguments);
    command
}
