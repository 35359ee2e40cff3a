//! Quantities, times and spans as people read them.
//!
//! Quantities arrive as exact decimal text (the API is asked with `?numbers=string`) and stay exact: no float is between a
//! counter and its page. Times arrive as RFC 3339 text and are shown in a named zone. What is no number or no time is shown as
//! it came, since a page that hides it would hide the fault.

mod amount;
mod markup;
mod quantity;
mod size;
mod span;
mod time;

pub use amount::Amount;
pub use markup::{Markup, escape};
pub use quantity::{bytes, compact, compact_in_unit, in_unit, percent, plural, quantity};
pub use span::{count, days, duration};
pub use time::{Zone, date, date_tag, moment, moment_tag, relative, relative_tag};

pub(crate) use quantity::{exact, is_bytes};
pub(crate) use size::unclear;
pub(crate) use time::{instant, short_date};
