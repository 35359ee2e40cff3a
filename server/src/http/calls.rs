//! How many calls one record stands for, and how they went (M8), on the wire.

use std::collections::BTreeMap;

use metergate_rules::timing::Calls;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::error::ApiError;

/// The calls that used together what is settled: they are counted, and how long they took is, as if each had been told alone.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CallsBody {
    /// How many they are; at most 1,000,000. Reports count so many.
    #[schema(example = 16)]
    pub count: u32,
    /// How many took how long: by milliseconds, at most 1,000 different. Calls of earlier records may be among them.
    #[serde(default)]
    #[schema(example = json!({"12": 15, "48": 1}))]
    pub durations: BTreeMap<u32, u32>,
    /// How many ended how: by status, at most 100 different.
    #[serde(default)]
    #[schema(example = json!({"200": 15, "500": 1}))]
    pub statuses: BTreeMap<u16, u32>,
}

impl CallsBody {
    /// As the rules know it.
    ///
    /// # Errors
    /// 422 where they are too many.
    pub fn read(self) -> Result<Box<Calls>, ApiError> {
        let Self { count, durations, statuses } = self;
        let calls =
            Calls { count, durations: durations.into_iter().collect(), statuses: statuses.into_iter().collect() };
        if calls.is_within_bounds() {
            Ok(Box::new(calls))
        } else {
            let most = Calls::MOST;
            Err(ApiError::invalid("#/calls", format!("Settle at most {most} calls at once, and tell fewer apart.")))
        }
    }
}

impl From<&Calls> for CallsBody {
    fn from(calls: &Calls) -> Self {
        let Calls { count, durations, statuses } = calls;
        Self {
            count: *count,
            durations: durations.iter().copied().collect(),
            statuses: statuses.iter().copied().collect(),
        }
    }
}
