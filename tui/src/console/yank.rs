//! What `y` copies: the command that does what was done last, or what is under the cursor.

use super::{
    browse,
    model::{Dialog, Model, View},
    msg::{Cmd, Slot},
    theme::Tone,
};

/// Copies, if there is something.
pub(crate) fn copy(model: &mut Model) -> Vec<Cmd> {
    let text = text(model);
    if text.is_empty() {
        model.say(Tone::Warn, "there is nothing to copy here");
        return Vec::new();
    }
    model.say(Tone::Good, format!("copied: {text}"));
    vec![Cmd::Copy(text)]
}

fn text(model: &Model) -> String {
    if let Some(Dialog::Confirm(confirm)) = &model.dialog {
        return confirm.act.effect(model).same_as;
    }
    match model.view {
        View::Jobs | View::Job => return job(model),
        View::Log => {
            return model.browse.log.held.and_then(|at| model.browse.log.lines.get(at).cloned()).unwrap_or_default();
        }
        View::Cluster | View::Messages | View::Election | View::Queues | View::Faults => {}
    }
    if !model.same_as.is_empty() {
        return model.same_as.clone();
    }
    model.shown().node(Slot(model.cursor)).map(|n| format!("{} {}", n.name, n.api)).unwrap_or_default()
}

/// The command that shows the job under the cursor.
fn job(model: &Model) -> String {
    let under = || browse::job_under_cursor(model).map(|job| job.id);
    let id = if model.view == View::Job { Some(model.browse.job) } else { under() };
    id.map(|id| format!("raftdeck job {id}")).unwrap_or_default()
}
