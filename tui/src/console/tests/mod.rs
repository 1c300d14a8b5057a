//! Tests of the whole console: tables of messages, screens, random sessions, and a live server.

mod acts;
mod asof;
mod calm;
mod chores;
mod fake;
mod fixture;
mod fuzz;
mod live;
mod lost;
mod screens;
mod session;
mod simulated;
mod time;
mod told;
