//! Workflows: JavaScript functions that clients create and call (Skydive API §2.5), and those that
//! are always there.

mod built_in;

use sonde_proto::workflow::Workflow;

use crate::resource::{Entries, Invalid, Resource, ResourceError};

pub use built_in::built_in;

/// The function of the workflow of that ID.
pub fn find(stored: &Entries<Workflow>, id: &str) -> Option<String> {
    let built_in = || built_in().iter().find(|workflow| workflow.uuid == id);
    let workflow = stored.get(id).map(|entry| &entry.resource).or_else(built_in)?;
    Some(workflow.source.clone())
}

/// The function of the workflow of that ID, or else of that name.
pub fn find_named(stored: &Entries<Workflow>, name: &str) -> Option<String> {
    find(stored, name).or_else(|| {
        let all = stored.values().map(|entry| &entry.resource).chain(built_in());
        let mut named = all.filter(|workflow| workflow.name == name);
        named.next().map(|workflow| workflow.source.clone())
    })
}

impl Resource for Workflow {
    /// The function is looked at when it is called.
    type Parsed = ();
    type Rules = ();

    const TABLE: &'static str = "workflows";

    fn uuid(&mut self) -> &mut String {
        &mut self.uuid
    }

    fn parse(&mut self, (): &()) -> Result<(), Vec<Invalid>> {
        if self.name.is_empty() {
            return Err(vec![Invalid::new("Name", "zero value")]);
        }
        match built_in().iter().any(|workflow| workflow.duplicates(self)) {
            true => Err(vec![duplicate(&self.name)]),
            false => Ok(()),
        }
    }

    fn duplicates(&self, other: &Self) -> bool {
        self.name == other.name
    }

    fn duplicate(&self) -> ResourceError {
        ResourceError::Invalid(vec![duplicate(&self.name)])
    }
}

fn duplicate(name: &str) -> Invalid {
    Invalid::whole(format!("Duplicate workflow, name={name}"))
}
