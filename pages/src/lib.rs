//! What people see of Metergate: answers of the API in, HTML out.
//!
//! A page is a pure function of what the API answered to the person who looks at it, so it can show nothing that they may not
//! read, and nothing here does I/O or reads a clock. The server (`http/pages`) asks the API for them, within the process.

pub mod alone;
pub mod answers;
pub mod assets;
pub mod audit;
pub mod catalog;
pub mod chart;
pub mod cycle;
pub mod form;
pub mod format;
pub mod forms;
pub mod frame;
pub mod organization;
pub mod organizations;
pub mod overview;
mod pager;
pub mod people;
pub mod portal;
pub mod prices;
pub mod progress;
mod range;
pub mod settings;
pub mod subscription;
pub mod typed;
pub mod webhooks;
pub mod what_if;
pub mod who;
