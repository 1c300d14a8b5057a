//! Keys while a dialog is open: help, confirmation, submit form.
//!
//! The focus of a confirmation starts on Cancel, and while a phrase is asked for, Enter does nothing until it is right.

use crossterm::event::{KeyCode, KeyEvent};
use raftdeck_shared::wire;

use super::{
    acts::{CUT_TTLS_MS, Effect},
    field::Field,
    keys,
    model::{Act, Button, Confirm, Dialog, Form, Model},
    msg::Cmd,
    theme::Tone,
};

/// What the form asks for, in order.
pub(crate) const FIELD_NAMES: [&str; 3] = ["handler", "payload", "queue"];

/// Gives a key to the open dialog.
pub(crate) fn key(model: &mut Model, key: &KeyEvent) -> Vec<Cmd> {
    let Some(open) = model.dialog.take() else { return Vec::new() };
    if key.code == KeyCode::Esc {
        return Vec::new();
    }
    match open {
        Dialog::Help(line) => {
            let line = match key.code {
                KeyCode::Char('?' | 'q') | KeyCode::Enter => return Vec::new(),
                KeyCode::Down | KeyCode::PageDown => line.saturating_add(1),
                KeyCode::Up | KeyCode::PageUp => line.saturating_sub(1),
                _ => line,
            };
            model.dialog = Some(Dialog::Help(line.min(keys::TABLE.len())));
            Vec::new()
        }
        Dialog::Confirm(confirm) => confirm_key(model, *confirm, key),
        Dialog::Submit(form) => form_key(model, form, key),
    }
}

/// Gives pasted text to the open dialog's field.
pub(crate) fn paste(model: &mut Model, text: &str) {
    match &mut model.dialog {
        Some(Dialog::Confirm(confirm)) => confirm.typed.insert(text),
        Some(Dialog::Submit(form)) => form.fields[form.at].insert(text),
        Some(Dialog::Help(_)) | None => {}
    }
}

fn confirm_key(model: &mut Model, mut confirm: Confirm, key: &KeyEvent) -> Vec<Cmd> {
    let effect = confirm.act.effect(model);
    match key.code {
        KeyCode::Enter => match confirm.chosen(&effect) {
            Some(Button::Go) => return confirm.act.start(model),
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

fn form_key(model: &mut Model, mut form: Form, key: &KeyEvent) -> Vec<Cmd> {
    match key.code {
        KeyCode::Enter => return submit(model, form),
        KeyCode::Tab | KeyCode::Down => form.at = (form.at + 1) % form.fields.len(),
        KeyCode::BackTab | KeyCode::Up => form.at = (form.at + form.fields.len() - 1) % form.fields.len(),
        KeyCode::Right if form.at == 0 && form.fields[0].at_end() => {
            if let Some(whole) = completion(&form, &model.handlers) {
                form.fields[0] = Field::new(whole);
            }
        }
        _ => {
            form.fields[form.at].key(key);
        }
    }
    model.dialog = Some(Dialog::Submit(form));
    Vec::new()
}

/// The first known handler that begins with what is typed.
pub(crate) fn completion<'a>(form: &Form, handlers: &'a [String]) -> Option<&'a str> {
    let typed = form.fields[0].text();
    handlers.iter().map(String::as_str).find(|h| h.starts_with(&typed) && *h != typed)
}

fn submit(model: &mut Model, form: Form) -> Vec<Cmd> {
    let [handler, payload, queue] = form.fields.each_ref().map(Field::text);
    if handler.trim().is_empty() {
        model.say(Tone::Warn, "submit: name a handler");
        model.dialog = Some(Dialog::Submit(form));
        return Vec::new();
    }
    let job = wire::NewJob {
        handler: handler.trim().to_owned(),
        payload: payload.into_bytes().into(),
        queue: queue.trim().to_owned(),
        ..Default::default()
    };
    let act = model.begin(format!("submit {}", job.handler));
    vec![Cmd::Submit { act, job }]
}
