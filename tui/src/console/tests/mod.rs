//! Tests of the whole console: tables of messages, screens, random sessions, and a live server.

mod fake;
mod fixture;
mod fuzz;
mod live;
mod screens;
mod session;
mod simulated;
mod time;
mod told;
