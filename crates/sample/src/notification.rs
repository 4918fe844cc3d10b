//! The notification service, which prints its notifications.

use buffa_types::google::protobuf::Empty;
use connectrpc::{RequestContext, Response, ServiceRequest, ServiceResult};

use crate::connect::notification::v1::{NotificationService, NotifyHogeUpdatedRequest, RemindReceiptRequest};
use crate::journal::say;

#[derive(Debug)]
pub struct Notification;

impl NotificationService for Notification {
    async fn notify_hoge_updated(
        &self,
        _: RequestContext,
        request: ServiceRequest<'_, NotifyHogeUpdatedRequest>,
    ) -> ServiceResult<Empty> {
        say(format_args!("{} was updated", request.event.hoge_id));
        Response::ok(Empty::default())
    }

    async fn remind_receipt(
        &self,
        _: RequestContext,
        request: ServiceRequest<'_, RemindReceiptRequest>,
    ) -> ServiceResult<Empty> {
        say(format_args!("{}: please upload the receipt", request.event.card_id));
        Response::ok(Empty::default())
    }
}
