//! Many records per request: DynamoDB runs up to 25 statements of PartiQL, each with its own condition and its own result.

use std::time::{Duration, Instant};

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::{
    AttributeValue, BatchStatementError, BatchStatementRequest, BatchStatementResponse,
    ReturnValuesOnConditionCheckFailure,
};
use outbox_runtime::Guarded;

use super::item::{Item, number};
use crate::Failure;

/// DynamoDB's limit for a batch.
pub(super) const STATEMENTS_MAX: usize = 25;
/// After a refused batch, each record costs a request of its own for this long.
const ALONE_FOR: Duration = Duration::from_secs(60);

/// The result of one statement.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Said {
    Written,
    /// Its condition failed because of this item, if DynamoDB shows it.
    Failed(Option<Item>),
    /// It may have taken effect, and is repeated.
    Unknown(Failure),
    /// It did not run in a batch. A single request is made instead, and its answer counts.
    Refused(Failure),
}

/// The statements on one table.
#[derive(Debug)]
pub(super) struct Batches {
    client: Client,
    claim: String,
    complete: String,
    rpc: String,
    /// The reason of the last refusal of batches, and the time until which none is tried.
    refused: Guarded<Option<(Failure, Instant)>>,
}

impl Batches {
    pub(super) fn new(client: Client, table: &str, rpc: &str) -> Self {
        let table = format!(r#""{}""#, table.replace('"', r#""""#));
        let claim = format!(
            "INSERT INTO {table} VALUE {{'id': ?, 'state': ?, 'token': ?, 'leased_until_ms': ?, 'at_ms': ?, 'expires_at': ?}}"
        );
        let complete = format!(
            r#"UPDATE {table} SET "state" = ? SET "at_ms" = ? SET "expires_at" = ? REMOVE "leased_until_ms" WHERE "id" = ? AND "token" = ?"#
        );
        Self { client, claim, complete, rpc: rpc.to_owned(), refused: Guarded::default() }
    }

    /// Fails if there is any item of this key, whatever its state.
    pub(super) fn claim(&self, parameters: [AttributeValue; 6]) -> BatchStatementRequest {
        statement(&self.claim, parameters.into())
    }

    /// Fails if the item has another token, or is gone.
    pub(super) fn complete(&self, parameters: [AttributeValue; 5]) -> BatchStatementRequest {
        statement(&self.complete, parameters.into())
    }

    /// Sends one request. Returns one result for each statement, in their order.
    pub(super) async fn ask(&self, statements: Vec<BatchStatementRequest>) -> Vec<Said> {
        let many = statements.len();
        let refused = self.refused.lock().clone();
        if let Some((failure, _)) = refused.filter(|(_, until)| Instant::now() < *until) {
            return vec![Said::Refused(failure); many];
        }
        let said = self.request(statements).await;
        if let Some((failure, words)) = self.heard(&said) {
            tracing::warn!(rpc = self.rpc, code = failure.code, message = failure.message, "{words}");
        }
        said
    }

    async fn request(&self, statements: Vec<BatchStatementRequest>) -> Vec<Said> {
        let many = statements.len();
        match self.client.batch_execute_statement().set_statements(Some(statements)).send().await {
            Ok(answer) => each(many, answer.responses.unwrap_or_default()),
            Err(error) => vec![Said::of(Failure::of(&error)); many],
        }
    }

    /// A role of an older `infra/` may not write batches. This is logged once, and single requests are made. It is logged again
    /// if a batch was written in between.
    fn heard<'s>(&self, said: &'s [Said]) -> Option<(&'s Failure, &'static str)> {
        let mut before = self.refused.lock();
        if said.iter().any(|said| matches!(said, Said::Written | Said::Failed(_))) {
            *before = None;
        }
        let Some(Said::Refused(failure)) = said.first() else { return None };
        if !said.iter().all(|said| matches!(said, Said::Refused(_))) {
            return None;
        }
        let until = Instant::now() + ALONE_FOR;
        let words = if failure.code.starts_with("AccessDenied") {
            "writing one dedup record per request, because DynamoDB refuses batches: `terraform apply` allows dynamodb:PartiQLInsert and dynamodb:PartiQLUpdate"
        } else {
            "writing one dedup record per request, because DynamoDB refuses batches"
        };
        before.replace((failure.clone(), until)).is_none().then_some((failure, words))
    }
}

/// Tests whether this role may complete records in batches, with a statement that matches no record. An error has the reason.
/// A claim can't be tried without writing a record.
pub async fn may_complete_batches(client: &Client, table: &str) -> Result<(), Failure> {
    let batches = Batches::new(client.clone(), table, "");
    let nobody = || AttributeValue::S("doctor".to_owned());
    let statement = batches.complete([nobody(), number(0), number(0), nobody(), number(0)]);
    match batches.request(vec![statement]).await.pop() {
        Some(Said::Unknown(failure) | Said::Refused(failure)) => Err(failure),
        _ => Ok(()),
    }
}

fn statement(text: &str, parameters: Vec<AttributeValue>) -> BatchStatementRequest {
    BatchStatementRequest::builder()
        .statement(text)
        .set_parameters(Some(parameters))
        .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
        .build()
        .expect("it has a statement")
}

fn each(many: usize, results: Vec<BatchStatementResponse>) -> Vec<Said> {
    if results.len() == many {
        return results.into_iter().map(|result| result.error.map_or(Said::Written, failed)).collect();
    }
    // It is unknown which statements these results are of.
    let message = format!("{} results of {many} statements", results.len());
    vec![Said::of(Failure { code: "UnreadableAnswer".to_owned(), message, refused: false }); many]
}

fn failed(error: BatchStatementError) -> Said {
    let code = error.code.as_ref().map_or("UnknownError", |code| code.as_str());
    if ["ConditionalCheckFailed", "DuplicateItem"].contains(&code) {
        return Said::Failed(error.item.filter(|item| !item.is_empty()));
    }
    let message = error.message.unwrap_or_default();
    Said::of(Failure { code: code.to_owned(), message, refused: false })
}

impl Said {
    fn of(failure: Failure) -> Self {
        const NOT_IN_A_BATCH: [&str; 5] = [
            "AccessDenied",
            "AccessDeniedException",
            "UnknownOperationException",
            "ValidationError",
            "ValidationException",
        ];
        if NOT_IN_A_BATCH.contains(&failure.code.as_str()) {
            Self::Refused(failure)
        } else {
            Self::Unknown(failure)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_sdk_dynamodb::config::BehaviorVersion;
    use aws_sdk_dynamodb::types::BatchStatementErrorCodeEnum as Code;
    use outbox_transport::{Kind, Unsettled};

    fn result(code: Option<&str>, item: Option<Item>) -> BatchStatementResponse {
        let error = BatchStatementError::builder().set_code(code.map(Code::from)).set_item(item).build();
        BatchStatementResponse::builder().error(error).build()
    }

    /// Guards promises 3 and 6: each statement has its own result. Only a failed condition is an answer. A statement that
    /// DynamoDB does not run in a batch is sent alone. After any other failure it is repeated.
    #[test]
    fn each_result_has_its_meaning() {
        let item = Item::from([("id".to_owned(), number(1))]);
        for code in ["DuplicateItem", "ConditionalCheckFailed"] {
            for (shown, expected) in [(Some(&item), Some(&item)), (Some(&Item::new()), None), (None, None)] {
                let said = each(1, vec![result(Some(code), shown.cloned())]);
                assert_eq!(said, [Said::Failed(expected.cloned())], "{code}");
            }
        }
        for (code, kind) in [
            (Some("ThrottlingError"), Kind::Away),
            (Some("ProvisionedThroughputExceeded"), Kind::Away),
            (Some("RequestLimitExceeded"), Kind::Away),
            (Some("InternalServerError"), Kind::Away),
            (Some("TransactionConflict"), Kind::Away),
            (None, Kind::Away),
            (Some("ResourceNotFound"), Kind::Refused),
            (Some("ItemCollectionSizeLimitExceeded"), Kind::Refused),
            (Some("SomethingNew"), Kind::Refused),
        ] {
            let said = each(1, vec![result(code, None)]).remove(0);
            let Said::Unknown(failure) = said else { panic!("{code:?}: {said:?}") };
            assert_eq!(Unsettled::from(failure).kind, kind, "{code:?}");
        }
        for code in ["AccessDenied", "ValidationError"] {
            let said = each(1, vec![result(Some(code), None)]).remove(0);
            assert!(matches!(said, Said::Refused(_)), "{code}: {said:?}");
        }
        let good = || BatchStatementResponse::builder().build();
        assert_eq!(each(2, vec![good(), good()]), [Said::Written, Said::Written]);
        for results in [vec![], vec![good()], vec![good(), good(), good()]] {
            let said = each(2, results);
            assert!(said.len() == 2 && said.iter().all(|said| matches!(said, Said::Unknown(_))), "{said:?}");
        }
    }

    fn batches(table: &str) -> Batches {
        let config = aws_sdk_dynamodb::Config::builder().behavior_version(BehaviorVersion::v2026_01_12());
        Batches::new(Client::from_conf(config.build()), table, "")
    }

    /// Guards: a refusal of batches is logged once until a batch runs again, with the remedy for that refusal.
    #[test]
    fn a_refusal_is_said_once_with_its_remedy() {
        let refused = |code: &str| {
            let failure = Failure { code: code.to_owned(), message: "no".to_owned(), refused: false };
            vec![Said::Refused(failure); 2]
        };
        for (code, helps) in [
            ("AccessDenied", true),
            ("AccessDeniedException", true),
            ("UnknownOperationException", false),
            ("ValidationError", false),
            ("ValidationException", false),
        ] {
            let batches = batches("table");
            let words = |said: &[Said]| batches.heard(said).map(|(_, words)| words);
            let first = words(&refused(code)).expect(code);
            assert_eq!(first.contains("`terraform apply` allows dynamodb:PartiQLInsert"), helps, "{code}");
            assert!(first.contains("DynamoDB refuses batches"), "{code}");
            assert_eq!(words(&refused(code)), None, "{code}");
            let unknown = Failure { code: "Timeout".to_owned(), message: String::new(), refused: false };
            assert_eq!(words(&[Said::Unknown(unknown)]), None);
            assert_eq!(words(&refused(code)), None, "no batch has run since");
            for runs in [Said::Written, Said::Failed(None)] {
                assert_eq!(words(&[runs]), None);
                assert!(words(&refused(code)).is_some(), "{code}");
            }
        }
    }

    /// Guards: a quote in the name of a table does not end the quoted name.
    #[test]
    fn names_of_tables_are_quoted() {
        let batches = batches(r#"a"b.c-d"#);
        assert!(batches.claim.starts_with(r#"INSERT INTO "a""b.c-d" VALUE {"#), "{}", batches.claim);
        assert!(batches.complete.starts_with(r#"UPDATE "a""b.c-d" SET "#), "{}", batches.complete);
    }
}
