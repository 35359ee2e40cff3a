//! The rules as a store meets them: settle, ask, decide, fold.
//!
//! Most tests are tables of scripts, one step after another, and what each step answers; `kit::script` has the words.
//! `machine` runs random commands against a second model that is written in another style.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "in a test a panic is the report")]

mod adjustments;
mod arithmetic;
mod beside;
mod costs;
mod courses;
mod cycles;
mod events;
mod fold;
mod grants;
mod held_costs;
mod kit;
mod late;
mod limits;
mod machine;
mod model;
mod notices;
mod operators;
mod rates;
mod repriced;
mod reservations;
mod sliding;
mod subscriptions;
mod together;
mod trials;
mod uniques;
mod voids;
mod what_if;
mod windows;
