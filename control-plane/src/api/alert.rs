//! `/api/alert` (Skydive API §2.4).

use sonde_proto::alert::Alert;

use super::resource::Served;
use crate::resource::Resources;
use crate::state::State;

impl Served for Alert {
    const TITLE: &'static str = "Alert";
    const UPDATABLE: bool = true;

    fn resources(state: &State) -> &Resources<Self> {
        &state.alerts.resources
    }
}
