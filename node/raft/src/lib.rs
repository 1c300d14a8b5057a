//! The consensus core.

mod ids;

pub use ids::{GroupId, Index, NodeId, Term};
