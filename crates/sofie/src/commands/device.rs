//! `sofie device`: simulated devices. They know nothing of SOFIE; the binary only carries them.

use std::process::ExitCode;
use std::sync::Arc;

use sofie_testkit::devices::door::{Door, Mode};
use sofie_testkit::devices::{broker, door_sensor, locker, told_to_stop};

use crate::cli::Device;
use crate::failure::Failure;
use crate::output;

/// Where the door sensor publishes.
const TOPIC: &str = "site/7/door/42/state";

pub(crate) async fn run(device: Device) -> Result<ExitCode, Failure> {
    let clock: sofie_testkit::devices::Millis = Arc::new(|| sofie_node::clock::now().as_millis());
    let stop = told_to_stop();
    let ended = match device {
        Device::Locker { door, listen } => {
            if !door.exists() {
                Door::create(&door, Mode::Normal).map_err(|e| Failure::lacking("hang a door", e, ""))?;
            }
            locker::run(locker::Args { listen, door, clock, separate: false }, output::line, stop).await
        }
        Device::DoorSensor { door, broker } => {
            let args = door_sensor::Args { broker: broker.to_string(), topic: TOPIC.into(), door, clock };
            door_sensor::run(args, output::line, stop).await
        }
        Device::Broker { listen } => broker::run(broker::Args { listen }, output::line, stop).await,
    };
    ended.map(|()| ExitCode::SUCCESS).map_err(|error| Failure::lacking("go on as a device", error, ""))
}
