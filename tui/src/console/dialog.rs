//! Keys while a dialog is open: help, confirmation, filter; those of a form are in [`form`].
//!
//! The focus of a confirmation starts on Cancel, and while a phrase is asked for, Enter does nothing until it is right.

use crossterm::event::{KeyCode, KeyEvent};

use super::{
    acts::{CUT_TTLS_MS, Effect},
    browse,
    events::Reading,
    field::Field,
    filter::Filter,
    form,
    model::{Act, Button, Confirm, Dialog, Model},
    msg::Cmd,
    palette,
    theme::Tone,
    update, yank,
};

/// Gives a key to the open dialog.
pub(crate) fn key(model: &mut Model, key: &KeyEvent) -> Vec<Cmd> {
    let Some(open) = model.dialog.take() else { return Vec::new() };
    if key.code == KeyCode::Esc {
        if matches!(open, Dialog::Filter(_)) {
            model.filters.remove(&model.view);
            model.reading = Reading::Follow;
        }
        return Vec::new();
    }
    match open {
        Dialog::Palette(palette) => palette::key(model, palette, key),
        Dialog::Filter(field) => {
            filter_key(model, field, key);
            Vec::new()
        }
        Dialog::Confirm(confirm) => confirm_key(model, *confirm, key),
        Dialog::Form(form) => form::key(model, form, key),
    }
}

/// Gives pasted text to the open dialog's field.
pub(crate) fn paste(model: &mut Model, text: &str) {
    match &mut model.dialog {
        Some(Dialog::Confirm(confirm)) => confirm.typed.insert(text),
        Some(Dialog::Form(form)) => form::paste(form, text),
        Some(Dialog::Palette(palette)) => palette.field.insert(text),
        Some(Dialog::Filter(field)) => {
            field.insert(text);
            let typed = field.text();
            filtered(model, &typed);
        }
        None => {}
    }
}

/// The view is filtered while the filter is typed. The prompt stays until what stands there is one.
fn filter_key(model: &mut Model, mut field: Field, key: &KeyEvent) {
    if key.code == KeyCode::Enter && update::set_filter(model, &field.text()).is_ok() {
        return;
    }
    if field.key(key) {
        filtered(model, &field.text());
    }
    model.dialog = Some(Dialog::Filter(field));
}

/// What is no filter, or none yet, leaves the last one in force; the prompt says why.
fn filtered(model: &mut Model, text: &str) {
    if !Filter::is_unfinished(text, browse::fields(model.view)) {
        let _ = update::set_filter(model, text);
    }
}

fn confirm_key(model: &mut Model, mut confirm: Confirm, key: &KeyEvent) -> Vec<Cmd> {
    let effect = confirm.act.effect(model);
    match key.code {
        KeyCode::Char('y') if !effect.quorum_lost => return copy(model, confirm),
        KeyCode::Enter => match confirm.chosen(&effect) {
            Some(Button::Go) => {
                model.same_as = effect.same_as;
                return confirm.act.start(model);
            }
            Some(Button::Cancel) => {
                model.say(Tone::Plain, "cancelled: nothing was done");
                return Vec::new();
            }
            None => {}
        },
        KeyCode::Up | KeyCode::Down => {
            if let Act::Cut { ttl, .. } = &mut confirm.act {
                let by = if key.code == KeyCode::Up { 1 } else { -1 };
                *ttl = ttl.saturating_add_signed(by).min(CUT_TTLS_MS.len() - 1);
            }
        }
        _ if effect.quorum_lost => {
            confirm.typed.key(key);
        }
        KeyCode::Tab | KeyCode::BackTab | KeyCode::Left | KeyCode::Right => {
            confirm.button = match confirm.button {
                Button::Cancel => Button::Go,
                Button::Go => Button::Cancel,
            };
        }
        _ => {}
    }
    model.dialog = Some(Dialog::Confirm(Box::new(confirm)));
    Vec::new()
}

/// Copies the command that does the same; the question stays.
fn copy(model: &mut Model, confirm: Confirm) -> Vec<Cmd> {
    model.dialog = Some(Dialog::Confirm(Box::new(confirm)));
    yank::copy(model)
}

impl Confirm {
    /// What Enter would do now; none while a wrong phrase stands there.
    pub(crate) fn chosen(&self, effect: &Effect) -> Option<Button> {
        match (effect.quorum_lost, self.typed.text().trim()) {
            (false, _) => Some(self.button),
            (true, "") => Some(Button::Cancel),
            (true, typed) => (typed == effect.phrase).then_some(Button::Go),
        }
    }
}
