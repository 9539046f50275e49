//! Why a connection came to nothing, or was ended by this side.

use crate::error::Error;
use crate::session::service::ServiceError;

/// See the module's comment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// The host does not want it.
    ByHost,
    /// A replica of that name is connected, and is to stay.
    NameTaken,
    /// Another replica of its name has come.
    Replaced,
    /// The server is being stopped.
    Stopped,
    /// There are as many connections as there may be.
    TooMany,
    /// It had to make room: too many said nothing about what they want, and it for the longest time.
    Crowded,
    /// The host did not say in time who it is.
    NotNamed,
    /// It is wrong, or came too late.
    Service(ServiceError),
    /// The connection failed, or this side of it.
    Failed(Error),
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Refusal::ByHost => f.write_str("the host refused it"),
            Refusal::NameTaken => f.write_str("a replica of that name is connected"),
            Refusal::Replaced => f.write_str("another replica of its name came"),
            Refusal::Stopped => f.write_str("the server is being stopped"),
            Refusal::TooMany => f.write_str("there are as many connections as there may be"),
            Refusal::Crowded => {
                f.write_str("too many connections had not said what they want, and this one for the longest")
            }
            Refusal::NotNamed => f.write_str("the host did not say in time which replica it is"),
            Refusal::Service(error) => error.fmt(f),
            Refusal::Failed(error) => error.fmt(f),
        }
    }
}
