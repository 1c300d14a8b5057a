//! The tabs and panes that a folder's nodes run in: found again by what is written beside their data, shown, closed, and
//! planned before anything is run.

use std::{fs, path::Path};

use raftdeck_shared::cluster::NodeEntry;

use super::{Folder, Place};
use crate::launch::tab::{Run, Shape, Tab};

impl Folder {
    /// The tab of a node, if it still has one.
    #[must_use]
    pub fn tab(&self, node: &NodeEntry) -> Option<Tab> {
        let text = fs::read_to_string(self.home(node).join("tab")).ok()?;
        text.parse().ok().filter(Tab::exists)
    }

    /// Brings the tab of a node before the operator.
    ///
    /// # Errors
    /// It has none, or its terminal refuses.
    pub fn show_tab(&self, node: &NodeEntry) -> Result<String, String> {
        let tab = self.tab(node).ok_or_else(|| format!("{} runs in no tab", node.name))?;
        tab.focus()?;
        Ok(format!("it is in {}", tab.terminal().name()))
    }

    /// Closes the tab of a node that has ended.
    ///
    /// # Errors
    /// It has none, or runs.
    pub fn close_ended_tab(&self, node: &NodeEntry) -> Result<String, String> {
        if let Some(process) = self.process(node) {
            return Err(format!("{} runs there, pid {}: kill it first", node.name, process.pid));
        }
        self.tab(node).ok_or_else(|| format!("{} has no tab", node.name))?;
        self.close_tab(node);
        Ok("closed".into())
    }

    /// The command lines that would start a node: the first of several, or a later one.
    ///
    /// # Errors
    /// The program is not found.
    pub fn plan(&self, node: &NodeEntry, place: &Place, is_first: bool) -> Result<Vec<Vec<String>>, String> {
        let mut command = self.command(node)?;
        Ok(match place {
            Place::Background => vec![command],
            Place::Tab(terminal, shape) => {
                command.extend(self.log_words(node));
                terminal.plan(self.run(node, &command, &self.home(node).join("launched")), *shape, is_first)
            }
        })
    }

    pub(super) fn run<'a>(&'a self, node: &'a NodeEntry, command: &'a [String], pid_file: &'a Path) -> Run<'a> {
        Run { name: &node.name, dir: &self.dir, command, pid_file }
    }

    /// In a terminal, what a node says goes there; its log is what others read.
    pub(super) fn log_words(&self, node: &NodeEntry) -> [String; 2] {
        ["--log-file".to_owned(), self.log(node).display().to_string()]
    }

    /// Closes the tabs and panes of nodes, running or not.
    pub fn close_tabs(&self) {
        self.file.nodes.iter().for_each(|node| self.close_tab(node));
    }

    /// Closes the tab or pane of a node, running or not.
    pub fn close_tab(&self, node: &NodeEntry) {
        if let Some(tab) = self.tab(node) {
            tab.close();
        }
        let _ = fs::remove_file(self.home(node).join("tab"));
    }

    /// Where a node runs that comes later: in a tab if others have one.
    #[must_use]
    pub fn place_of_others(&self) -> Place {
        match self.file.nodes.iter().find_map(|node| self.tab(node)) {
            Some(tab) => Place::Tab(tab.terminal().clone(), Shape::Tab),
            None => Place::Background,
        }
    }
}
