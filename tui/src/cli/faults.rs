//! `cut`, `link`, `disk`, `pause-node`, `clock`: faults on purpose, for a time.
//!
//! Laws: if one node would refuse, or cannot be reached, nothing is set at all; a cut is set at both ends of each link that
//! crosses, all else at the node where it is to strike, which counts what it does. `faults` tells, `heal` ends.

use std::time::Duration;

use futures_util::future::join_all;
use raftdeck_shared::{
    faults::{check, kind, peer, words},
    wire::{self, fault_spec::Fault},
};
use serde::Serialize;

use super::{
    args,
    failure::Failure,
    out::Out,
    sides::Sides,
    status::{Row, View},
    target::Target,
    values::{count, ms, say_duration},
};
use crate::ask;

/// What every console shows as the reason of a fault set here.
pub(super) const LABEL: &str = "raftdeck command line";

#[derive(Debug, Serialize)]
struct Cut {
    cut: Vec<[String; 2]>,
    one_way: bool,
    for_ms: u64,
    effect: Vec<String>,
}

/// Faults as they were set.
#[derive(Debug, Serialize)]
struct Set {
    faults: Vec<SetFault>,
    for_ms: u64,
}

#[derive(Debug, Serialize)]
struct SetFault {
    id: String,
    kind: &'static str,
    what: String,
    #[serde(rename = "where")]
    place: String,
}

/// `raftdeck cut A,B / C,D,E`.
///
/// # Errors
/// A node is unknown or refuses, or a link has no end that can be reached.
pub async fn cut(target: &Target, words: &[String], one_way: bool, ttl: Duration, out: Out) -> Result<(), Failure> {
    let view = View::gather(target).await.reached()?;
    let all: Vec<u64> = view.rows.iter().filter_map(Row::id).collect();
    let mut resolve = |name: &str| {
        let row = view.row(name).map_err(|failure| match failure {
            Failure::Refused(message) | Failure::Usage(message) => message,
            Failure::ReaderGone => String::new(),
        })?;
        row.id().ok_or_else(|| format!("{name} is not reachable and no cluster file gives its number"))
    };
    let sides = Sides::parse(words, &all, &mut resolve)?;
    if one_way && sides.sides.len() > 2 {
        let sides = sides.sides.len();
        return Err(Failure::Usage(format!("a one-way cut is from one side to another, not between {sides} sides")));
    }
    let name = |id: u64| view.name_of(id);
    let up = |id: u64| view.rows.iter().find(|row| row.id() == Some(id) && row.status.is_some());
    for node in sides.sides.iter().flatten() {
        up(*node).map_or(Ok(()), takes_faults)?;
    }
    let links = sides.links();
    let mut orders = Vec::new();
    for (a, b) in &links {
        let ends = if one_way {
            let fault = Fault::OneWayCut(wire::OneWayCutFault { peer: *b });
            vec![up(*a).map(|row| (row, fault))]
        } else {
            let at = |at: u64, peer| up(at).map(|row| (row, Fault::Cut(wire::CutFault { peer })));
            vec![at(*a, *b), at(*b, *a)]
        };
        let before = orders.len();
        orders.extend(ends.into_iter().flatten());
        if orders.len() == before {
            let who = if one_way {
                format!("{} is not", name(*a))
            } else {
                format!("neither {} nor {} is", name(*a), name(*b))
            };
            return Err(Failure::Refused(format!("{who} reachable: nothing was cut")));
        }
    }
    set(&view, orders, ttl).await?;
    let voters_up: Vec<u64> = all.iter().copied().filter(|id| up(*id).is_some()).collect();
    let told = Cut {
        cut: links.iter().map(|(a, b)| [name(*a), name(*b)]).collect(),
        one_way,
        for_ms: ms(ttl),
        effect: sides.effect(&view.voters(), &voters_up, &name),
    };
    out.say(&told, || {
        let way = if one_way { " in one direction" } else { "" };
        let head =
            format!("cut {}{way} for {}; `raftdeck heal` ends it", count(links.len(), "link"), say_duration(ttl));
        std::iter::once(head).chain(told.effect.iter().cloned()).collect::<Vec<_>>().join("\n")
    })
}

/// `raftdeck link A B`.
///
/// # Errors
/// A node is unknown, refuses or cannot be reached.
pub async fn link(target: &Target, args: &args::Link, out: Out) -> Result<(), Failure> {
    let view = View::gather(target).await.reached()?;
    let (a, b) = (reachable(&view, &args.a)?, reachable(&view, &args.b)?);
    if a.id() == b.id() {
        return Err(Failure::Usage(format!("{} has no link to itself", a.name())));
    }
    let towards = |peer: &Row| args.towards(peer.id().unwrap_or_default());
    let mut orders = vec![(a, towards(b))];
    if !args.one_way {
        orders.push((b, towards(a)));
    }
    tell(set(&view, orders, args.ttl.ttl).await?, args.ttl.ttl, out)
}

/// `raftdeck disk NODE`.
///
/// # Errors
/// The node is unknown, refuses or cannot be reached.
pub async fn disk(target: &Target, args: &args::Disk, out: Out) -> Result<(), Failure> {
    at_node(target, &args.node, args.fault(), args.ttl.ttl, out).await
}

/// A fault of one node.
///
/// # Errors
/// The node is unknown, refuses or cannot be reached.
pub async fn at_node(target: &Target, node: &str, fault: Fault, ttl: Duration, out: Out) -> Result<(), Failure> {
    let view = View::gather(target).await.reached()?;
    let row = reachable(&view, node)?;
    tell(set(&view, vec![(row, fault)], ttl).await?, ttl, out)
}

/// Where a fault is: `n1`, `n1 -> n2`, or `n1 - n2` for both ways.
pub(super) fn place(view: &View, node: &str, fault: &Fault) -> String {
    let arrow = if matches!(fault, Fault::Cut(_)) { "-" } else { "->" };
    peer(fault).map_or_else(|| node.to_owned(), |peer| format!("{node} {arrow} {}", view.name_of(peer)))
}

fn reachable<'a>(view: &'a View, name: &str) -> Result<&'a Row, Failure> {
    let row = view.row(name)?;
    match row.status {
        Some(_) => Ok(row),
        None => Err(Failure::Refused(format!("{} is not reachable at {}", row.name(), row.member.api))),
    }
}

fn takes_faults(row: &Row) -> Result<(), Failure> {
    if row.status.as_ref().is_none_or(|status| status.faults_enabled) {
        return Ok(());
    }
    let name = row.name();
    Err(Failure::Refused(format!("{name} takes no faults: it was started without --enable-faults")))
}

/// Sets all of them, at the same time.
async fn set(view: &View, orders: Vec<(&Row, Fault)>, ttl: Duration) -> Result<Vec<SetFault>, Failure> {
    for (row, fault) in &orders {
        check(fault).map_err(Failure::Usage)?;
        takes_faults(row)?;
    }
    let set = orders.into_iter().map(|(row, fault)| async move {
        let (node, what) = (row.name(), words(&fault));
        let place = place(view, &node, &fault);
        match ask::inject(&row.member.api, fault, ttl, LABEL).await {
            Ok(told) => Ok(SetFault { id: format!("{node}:{}", told.id), kind: kind(&fault), what, place }),
            Err(status) => Err(format!("{place}: no {what}: {}", ask::why(&status))),
        }
    });
    Ok(join_all(set).await.into_iter().collect::<Result<Vec<_>, String>>()?)
}

fn tell(faults: Vec<SetFault>, ttl: Duration, out: Out) -> Result<(), Failure> {
    let told = Set { faults, for_ms: ms(ttl) };
    out.say(&told, || {
        let line = |SetFault { id, kind: _, what, place }: &SetFault| {
            format!("{place}: {what} for {}; `raftdeck heal {id}` ends it", say_duration(ttl))
        };
        told.faults.iter().map(line).collect::<Vec<_>>().join("\n")
    })
}
