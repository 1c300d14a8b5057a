//! What `y` copies: the command that does what was done last, or what is under the cursor.

use super::{
    model::{Dialog, Model},
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
    if !model.same_as.is_empty() {
        return model.same_as.clone();
    }
    model.shown().node(Slot(model.cursor)).map(|n| format!("{} {}", n.name, n.api)).unwrap_or_default()
}
