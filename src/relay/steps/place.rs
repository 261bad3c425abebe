//! Whether a destination, and its folder, are still those that a delivery was for: what is not there tells something only in
//! the folder in which a publish was tried. A share that is not mounted leaves an empty folder of the same name.

use std::path::Path;

use super::deliver::Target;
use crate::config::{DestinationConfig, Route};
use crate::durable;
use crate::endpoints::missing_folder;
use crate::error::{Error, Kind, Result, shown};
use crate::job::{Delivery, Found, Job, Name, Place};

/// What became of the folder since.
pub(super) enum Since {
    /// It is the same, as far as can be told.
    Same,
    /// Another one has its name: B has made it anew.
    Remade,
    /// The destination is another one now; it was this.
    Moved(Name),
}

/// The folder of a delivery's temporary file, as it is now.
pub(super) fn place_of(t: &Target<'_>) -> Result<Place> {
    let folder = t.temp.parent().unwrap_or(Path::new(""));
    let found = if t.d.endpoint_name() == "local" { found_at(&folder.join("."))? } else { Found::default() };
    Ok(Place { path: Name(folder.as_os_str().as_encoded_bytes().to_vec()), dev: found.dev, ino: found.ino })
}

fn found_at(path: &Path) -> Result<Found> {
    Ok(durable::look(path)?.map(|meta| durable::found(&meta)).unwrap_or_default())
}

/// What became of the folder since the publish was tried. A share that is not mounted now is an error that waits for it.
pub(super) fn since_tried(t: &Target<'_>, delivery: &Delivery) -> Result<Since> {
    let Some(before) = &delivery.tried_in else { return Ok(Since::Same) };
    let now = place_of(t)?;
    if now.path != before.path {
        return Ok(Since::Moved(before.path.clone()));
    }
    let folder = now.path.path();
    if now.ino == 0 && before.ino != 0 {
        return Err(missing_folder(folder));
    }
    // Mounted anew, a file system may have another device, and its folders most often the same inodes.
    if now.ino == before.ino {
        return Ok(Since::Same);
    }
    if now.dev != before.dev && found_at(&folder.join(".."))?.dev == now.dev {
        let message = format!("the folder {} is not the one in which the file was tried: its share is not mounted", shown(folder));
        return Err(Error::endpoint(message).kind_of(Kind::NotFound).hint("mount it: the file goes on by itself, and what became of it shows there"));
    }
    Ok(Since::Remade)
}

/// Whether a delivery is for a destination by its path too.
pub(super) fn goes_to(delivery: &Delivery, d: &DestinationConfig) -> bool {
    delivery.endpoint == d.endpoint_name() && delivery.to.as_ref() == Some(&d.path)
}

/// The destination of a delivery. One of several is known by its path too: put in another order, or with one of them taken
/// out, the destinations of a route would get each other's files.
pub fn destination<'t>(route: &'t Route, job: &Job, delivery: &Delivery) -> Result<&'t DestinationConfig> {
    let found = route.destinations.get(delivery.destination).filter(|d| d.endpoint_name() == delivery.endpoint);
    let others = |d: &DestinationConfig| {
        let elsewhere = route.destinations.iter().any(|other| goes_to(delivery, other));
        let anothers = job.deliveries.iter().any(|x| x.destination != delivery.destination && goes_to(x, d));
        delivery.to.is_some() && !goes_to(delivery, d) && (elsewhere || anothers)
    };
    found.filter(|d| !others(d)).ok_or_else(|| {
        let name = delivery
            .to
            .as_ref()
            .map_or_else(|| (delivery.destination + 1).to_string(), |to| format!("{} ({})", delivery.destination + 1, shown(Path::new(to))));
        Error::endpoint(format!("the route {} has no destination {name} any more, or has its destinations in another order", route.name))
            .hint("put the destinations back as they were, and the job goes on")
    })
}
