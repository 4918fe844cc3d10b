//! The subscribing services of the sample domain.

use connectrpc::ConnectError;
use serde::de::DeserializeOwned;

use crate::events::{CardTransactionSettledEvent, EventRequest, HogeUpdatedEvent};
use crate::server::Incoming;

/// Which services one process serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Service {
    Notification,
    Afterpay,
}

impl Service {
    pub fn serves(self, rpc: &str) -> bool {
        match self {
            Service::Notification => {
                matches!(rpc, "NotificationService/NotifyHogeUpdated" | "NotificationService/RemindReceipt")
            }
            Service::Afterpay => rpc == "AfterPayService/RecordCardTransaction",
        }
    }
}

/// Runs one RPC; returns what it did, for people.
pub fn handle(call: &Incoming) -> Result<String, ConnectError> {
    match call.rpc.as_str() {
        "NotificationService/NotifyHogeUpdated" => {
            let event: HogeUpdatedEvent = event(call)?;
            Ok(format!("told the owner of {}", event.hoge_id))
        }
        "NotificationService/RemindReceipt" => {
            let event: CardTransactionSettledEvent = event(call)?;
            Ok(format!("reminded the holder of {} of a receipt from {}", event.card_id, event.merchant))
        }
        "AfterPayService/RecordCardTransaction" => {
            let event: CardTransactionSettledEvent = event(call)?;
            if event.amount_minor <= 0 {
                return Err(ConnectError::invalid_argument("amount_minor must be positive"));
            }
            Ok(format!("recorded {} {}", event.amount_minor, event.currency))
        }
        other => Err(ConnectError::unimplemented(format!("no such method: {other}"))),
    }
}

fn event<E: DeserializeOwned>(call: &Incoming) -> Result<E, ConnectError> {
    serde_json::from_slice::<EventRequest<E>>(&call.body)
        .map(|request| request.event)
        .map_err(|error| ConnectError::invalid_argument(format!("not a request of {}: {error}", call.rpc)))
}
