//! The AfterPay service, which prints its bookings.

use buffa_types::google::protobuf::Empty;
use connectrpc::{ConnectError, RequestContext, Response, ServiceRequest, ServiceResult};

use crate::connect::afterpay::v1::{AfterPayService, RecordCardTransactionRequest};
use crate::journal::say;

#[derive(Debug)]
pub struct AfterPay;

impl AfterPayService for AfterPay {
    async fn record_card_transaction(
        &self,
        _: RequestContext,
        request: ServiceRequest<'_, RecordCardTransactionRequest>,
    ) -> ServiceResult<Empty> {
        if request.event.amount_minor <= 0 {
            return Err(ConnectError::invalid_argument("amount_minor must be positive"));
        }
        say(format_args!("{} {}", request.event.amount_minor, request.event.currency));
        Response::ok(Empty::default())
    }
}
