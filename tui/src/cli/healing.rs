//! `faults`, `heal`: which faults there are, what each has done, and the end of them.
//!
//! A node numbers its own faults, so the id of one is `NODE:NUMBER`.

use std::collections::BTreeMap;

use futures_util::future::join_all;
use raftdeck_shared::{
    faults::{effect, kind, words},
    wire,
};
use serde::Serialize;

use super::{
    failure::Failure,
    faults::place,
    out::{Out, table},
    status::{Row, View},
    target::Target,
    values::count,
};
use crate::{ask, plain::plain};

#[derive(Debug, Serialize)]
struct Listed {
    faults: Vec<ListedFault>,
    unreachable: Vec<String>,
}

#[derive(Debug, Serialize)]
struct ListedFault {
    id: String,
    node: String,
    kind: &'static str,
    what: String,
    #[serde(rename = "where")]
    place: String,
    left_ms: u64,
    /// How it ended; nothing while it is in force.
    ended: Option<String>,
    label: String,
    effect: String,
    measured: Measured,
}

/// As in `FaultEffect` of the wire.
#[derive(Debug, Serialize)]
struct Measured {
    messages: u64,
    dropped: u64,
    delayed: u64,
    delayed_us: u64,
    duplicated: u64,
    reordered: u64,
    stalls: u64,
    stalled_ms: u64,
    longest_stall_ms: u64,
    stamps: u64,
}

#[derive(Debug, Serialize)]
struct Healed {
    healed: Vec<HealedNode>,
    unreachable: Vec<String>,
}

#[derive(Debug, Serialize)]
struct HealedNode {
    node: String,
    faults: usize,
}

/// `raftdeck faults`.
///
/// # Errors
/// No node can be reached.
pub async fn list(target: &Target, out: Out) -> Result<(), Failure> {
    let view = View::gather(target).await.reached()?;
    let of = |faults: fn(&wire::NodeStatus) -> &[wire::Fault]| {
        let listed = view.rows.iter().flat_map(|row| {
            let faults = row.status.as_ref().map(faults).unwrap_or_default();
            faults.iter().filter_map(|fault| listed(&view, &row.name(), fault))
        });
        listed.collect::<Vec<_>>()
    };
    let mut faults = of(|status| &status.faults);
    faults.extend(of(|status| &status.ended_faults));
    let silent = view.rows.iter().filter(|row| row.status.is_none());
    let told = Listed { faults, unreachable: silent.map(Row::name).collect() };
    out.say(&told, || {
        let rows: Vec<[String; 5]> = told.faults.iter().map(row).collect();
        let head = ["ID", "FAULT", "WHERE", "LEFT", "EFFECT"];
        let faults = if rows.is_empty() { "no faults".to_owned() } else { table(head, &rows) };
        let silent = told.unreachable.iter().map(|node| format!("{node}: not reachable"));
        std::iter::once(faults).chain(silent).collect::<Vec<_>>().join("\n")
    })
}

fn row(fault: &ListedFault) -> [String; 5] {
    let left = match &fault.ended {
        Some(how) => how.clone(),
        None => format!("{} s", fault.left_ms.div_ceil(1000)),
    };
    [fault.id.clone(), fault.what.clone(), fault.place.clone(), left, fault.effect.clone()]
}

/// A fault of a kind that this program knows.
fn listed(view: &View, node: &str, told: &wire::Fault) -> Option<ListedFault> {
    let fault = told.spec?.fault?;
    let done = told.effect.unwrap_or_default();
    let wire::FaultEffect { messages, dropped, delayed, delayed_us, duplicated, reordered, .. } = done;
    let wire::FaultEffect { stalls, stalled_ms, longest_stall_ms, stamps, .. } = done;
    Some(ListedFault {
        id: format!("{node}:{}", told.id),
        node: node.to_owned(),
        kind: kind(&fault),
        what: words(&fault),
        place: place(view, node, &fault),
        left_ms: if told.ended.is_empty() { told.left_ms } else { 0 },
        ended: (!told.ended.is_empty()).then(|| plain(&told.ended)),
        label: plain(&told.label),
        effect: match told.ended.is_empty() {
            // What is over has nothing before it.
            false if done == wire::FaultEffect::default() => "nothing".into(),
            _ => effect(&fault, &done),
        },
        measured: Measured {
            messages,
            dropped,
            delayed,
            delayed_us,
            duplicated,
            reordered,
            stalls,
            stalled_ms,
            longest_stall_ms,
            stamps,
        },
    })
}

/// `raftdeck heal [NODE|ID ..]`.
///
/// # Errors
/// A named node, or every node, cannot be reached.
pub async fn heal(target: &Target, what: &[String], out: Out) -> Result<(), Failure> {
    let view = View::gather(target).await.reached()?;
    let orders = orders(&view, what)?;
    let answers = join_all(orders.iter().map(|(row, ids)| ask::heal(&row.member.api, ids.clone()))).await;
    let mut told = Healed { healed: Vec::new(), unreachable: Vec::new() };
    for ((row, _), answer) in orders.iter().zip(answers) {
        let node = row.name();
        match answer {
            Ok(reply) => told.healed.push(HealedNode { node, faults: reply.healed.len() }),
            Err(status) if ask::refused(&status) => {
                return Err(Failure::Refused(format!("{node}: {}", ask::why(&status))));
            }
            Err(status) if !what.is_empty() => {
                return Err(Failure::Refused(format!("{node} is not reachable: {}", ask::why(&status))));
            }
            Err(_) => told.unreachable.push(node),
        }
    }
    out.say(&told, || {
        let lines =
            told.healed.iter().map(|HealedNode { node, faults }| format!("{node}: {} healed", count(*faults, "fault")));
        let gone = told.unreachable.iter().map(|node| format!("{node}: not reachable"));
        lines.chain(gone).collect::<Vec<_>>().join("\n")
    })
}

/// At each node what is to end: the faults of these ids, or all.
fn orders<'a>(view: &'a View, what: &[String]) -> Result<Vec<(&'a Row, Vec<u64>)>, Failure> {
    if what.is_empty() {
        return Ok(view.rows.iter().map(|row| (row, Vec::new())).collect());
    }
    let (mut all, mut some) = (Vec::new(), BTreeMap::<usize, Vec<u64>>::new());
    let place = |wanted: &Row| view.rows.iter().position(|row| row.member.api == wanted.member.api).unwrap_or_default();
    for word in what {
        // A node whose name nobody knows is called by its address, which has a colon as well.
        let id = word.rsplit_once(':').and_then(|(node, id)| Some((view.row(node).ok()?, id.parse().ok()?)));
        match (view.row(word), id) {
            (Ok(row), _) => all.push(place(row)),
            (Err(_), Some((row, id))) => some.entry(place(row)).or_default().push(id),
            (Err(failure), None) => return Err(failure),
        }
    }
    some.retain(|at, _| !all.contains(at));
    some.extend(all.into_iter().map(|at| (at, Vec::new())));
    Ok(some.into_iter().map(|(at, ids)| (&view.rows[at], ids)).collect())
}
