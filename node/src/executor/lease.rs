//! The leases that this node holds: how long each lasts, when to renew, and when a job has to stop.
//!
//! The table is shared by the loop that renews and by the tasks that run jobs. A task sees its own lease only: it waits on
//! [`Lease::stopped`] beside its work, and ends its entry by [`Lease::give_up_renewal`] or by going away.
//!
//! # Laws
//!
//! - A deadline is the moment a request was sent, plus the length that was granted in answer. The cluster counts from when
//!   it *received* that request, so this side never believes in a lease for longer than the cluster does.
//! - One that cannot be renewed stops its job a margin before the deadline: time to end a program, by force if need be.
//! - All leases are renewed together, as soon as one of them has a third behind it.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use raftdeck_jobs::limits::LEASES_MAX;
use raftdeck_shared::{
    client::{Client, ClientError},
    ids::{JobId, LeaseToken},
    wire,
};
use tokio::{
    sync::{Notify, watch},
    time::{Instant, sleep_until},
};

use super::{GRACE, trouble::Trouble};

/// Longest time that is kept for ending a job before its deadline; a quarter of a short lease.
const MARGIN_MAX: Duration = Duration::from_secs(2);

/// Why a job has to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// Its cancellation was asked for.
    Cancelled,
    /// This node ends.
    NodeStopping,
    /// The cluster says that the lease is no longer this node's: the job may already run elsewhere.
    Lost,
    /// The cluster does not answer, and the deadline is near: the job may soon run elsewhere.
    Unrenewed,
}

/// A job and the token of the claim that leased it: one claim may lease many jobs.
type Name = (JobId, LeaseToken);

/// What is known of one lease.
#[derive(Clone, Copy, Debug)]
struct Terms {
    sent: Instant,
    length: Duration,
    stop: Option<Stop>,
}

impl Terms {
    fn deadline(&self) -> Instant {
        self.sent + self.length
    }

    fn fence(&self) -> Instant {
        self.deadline() - (self.length / 4).min(MARGIN_MAX)
    }

    fn renewal(&self) -> Instant {
        self.sent + self.length / 3
    }
}

/// All leases of this node.
pub(super) struct Leases {
    length: Duration,
    held: Mutex<BTreeMap<Name, watch::Sender<Terms>>>,
    added: Notify,
    count: Arc<AtomicU64>,
}

impl Leases {
    /// None yet. `length` is what renewals ask for; `count` is kept at the number held.
    pub(super) fn new(length: Duration, count: Arc<AtomicU64>) -> Leases {
        Leases { length, held: Mutex::default(), added: Notify::new(), count }
    }

    /// Takes up the lease of a job that was just claimed.
    pub(super) fn hold(self: &Arc<Self>, job: &wire::ClaimedJob, claim_sent: Instant) -> Lease {
        let name = (JobId(job.id), LeaseToken(job.token));
        let terms = Terms { sent: claim_sent, length: Duration::from_millis(job.lease_ms), stop: None };
        let (sender, terms) = watch::channel(terms);
        self.change(|held| held.insert(name, sender));
        self.added.notify_one();
        Lease { name, terms, leases: Arc::clone(self) }
    }

    /// Tells every job to stop.
    pub(super) fn stop_all(&self, stop: Stop) {
        for terms in self.lock().values() {
            terms.send_modify(|terms| terms.stop = terms.stop.or(Some(stop)));
        }
    }

    /// Renews what is held, for as long as this is polled.
    pub(super) async fn renew_forever(&self, client: &Client) -> Infallible {
        let mut trouble = Trouble::while_("renewing leases");
        loop {
            let Some(due) = self.live().into_iter().map(|(_, terms)| terms.renewal()).min() else {
                self.added.notified().await;
                continue;
            };
            tokio::select! {
                () = sleep_until(due) => {}
                () = self.added.notified() => continue,
            }
            match self.renew(client).await {
                Ok(()) => trouble.over(),
                Err(error) => trouble.pause(&error).await,
            }
        }
    }

    async fn renew(&self, client: &Client) -> Result<(), ClientError> {
        for batch in self.live().chunks(LEASES_MAX) {
            let leases = batch.iter().map(|((job, token), _)| wire::LeaseRef { job: job.0, token: token.0 }).collect();
            let request =
                wire::HeartbeatLeasesRequest { leases, lease_ms: self.length.as_millis() as u64, session: None };
            let sent = Instant::now();
            let reply = client.heartbeat(request, self.length / 3).await?;
            for ((name, _), renewal) in batch.iter().zip(&reply.renewals) {
                self.take_note(name, sent, renewal);
            }
        }
        Ok(())
    }

    fn take_note(&self, name: &Name, sent: Instant, renewal: &wire::LeaseRenewal) {
        // A job that ended while the request was under way is no longer here, and nobody asks.
        if let Some(terms) = self.lock().get(name) {
            terms.send_modify(|terms| match &renewal.outcome {
                Some(wire::lease_renewal::Outcome::DeadlineMs(_)) => {
                    terms.sent = sent;
                    if renewal.cancel_requested {
                        terms.stop = terms.stop.or(Some(Stop::Cancelled));
                    }
                }
                Some(wire::lease_renewal::Outcome::Refused(_)) => terms.stop = Some(Stop::Lost),
                None => {}
            });
        }
    }

    /// The leases worth renewing.
    fn live(&self) -> Vec<(Name, Terms)> {
        let held = self.lock();
        let all = held.iter().map(|(name, terms)| (*name, *terms.borrow()));
        all.filter(|(_, terms)| terms.stop != Some(Stop::Lost)).collect()
    }

    fn change<T>(&self, change: impl FnOnce(&mut BTreeMap<Name, watch::Sender<Terms>>) -> T) {
        let mut held = self.lock();
        change(&mut held);
        self.count.store(held.len() as u64, Ordering::Relaxed);
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Name, watch::Sender<Terms>>> {
        self.held.lock().expect("no holder panics")
    }
}

/// One lease, as the job under it sees it. Renewed until it is dropped.
pub(super) struct Lease {
    name: Name,
    terms: watch::Receiver<Terms>,
    leases: Arc<Leases>,
}

impl Lease {
    /// Why the job has to stop by now, if it has to.
    pub(super) fn stop_order(&self) -> Option<Stop> {
        let terms = *self.terms.borrow();
        terms.stop.or_else(|| (Instant::now() >= terms.fence()).then_some(Stop::Unrenewed))
    }

    /// Ends when the job has to stop, and says why.
    pub(super) async fn stopped(&mut self) -> Stop {
        loop {
            let fence = self.terms.borrow_and_update().fence();
            if let Some(stop) = self.stop_order() {
                return stop;
            }
            tokio::select! {
                () = sleep_until(fence) => {}
                changed = self.terms.changed() => changed.expect("the entry stays as long as its lease"),
            }
        }
    }

    /// How long a program may take to end by itself: not at all when its job may already run elsewhere, and never so long
    /// that it could.
    pub(super) fn grace(&self, stop: Option<Stop>) -> Duration {
        match stop {
            Some(Stop::Lost) => Duration::ZERO,
            Some(Stop::Cancelled | Stop::NodeStopping | Stop::Unrenewed) | None => {
                GRACE.min(self.terms.borrow().deadline().saturating_duration_since(Instant::now()) / 2)
            }
        }
    }

    /// The execution is over: what is left of the lease, until the moment returned, is for settling. So a cluster that
    /// refuses to settle cannot keep a slot busy for ever.
    pub(super) fn give_up_renewal(self) -> Instant {
        self.terms.borrow().deadline()
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.leases.change(|held| held.remove(&self.name));
    }
}
