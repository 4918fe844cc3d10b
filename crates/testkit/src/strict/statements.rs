//! DynamoDB's batches of statements: refusals that the emulator does not have, and failures of single statements that a test
//! ordered.
//!
//! In ministack 1.5.33 a statement fails alone, with `ConditionalCheckFailed` and the existing item, or with
//! `DuplicateItem`. It differs from AWS:
//!
//! - A duplicate comes without the existing item. AWS does not document whether `ALL_OLD` shows it.
//! - Two statements on one item run one after the other. The fault server refuses such a batch, as AWS documents for
//!   `BatchWriteItem`.
//! - A batch may have reads and writes, which AWS documents as refused. No batch of the product has a read.
//! - It checks no rights, and throttles nothing.

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderValue, Request, Response, StatusCode};
use serde_json::{Value, json};

use super::Strict;
use super::refusal::{Refusal, respond};
use super::script::Statements;

impl Strict {
    /// The next statement on an item whose key contains `item` does not run, and fails with this code.
    pub fn fail_statement(&self, item: &str, code: &'static str) {
        self.with(|state| state.statements.fails.push((item.to_owned(), code)));
    }

    /// The next batches take effect, and their answers are lost.
    pub fn lose_batches(&self, many: usize) {
        self.with(|state| state.statements.lost += many);
    }

    /// The next batches take effect, and the last result of each is missing.
    pub fn cut_batches(&self, many: usize) {
        self.with(|state| state.statements.cut += many);
    }

    /// From now on a duplicate comes with the existing item, if the statement requests it.
    pub fn show_duplicates(&self) {
        self.with(|state| state.statements.shows_duplicates = true);
    }

    /// The number of ordered failures that have not happened yet.
    pub fn still_to_fail(&self) -> usize {
        self.with(|state| {
            let Statements { fails, lost, cut, .. } = &state.statements;
            fails.len() + lost + cut
        })
    }

    pub(super) async fn scripted(
        &self,
        parts: Parts,
        body: &Bytes,
    ) -> Result<Response<Bytes>, std::io::Error> {
        let answer = self.statements(parts, body, |key| self.fails(key)).await?;
        let take = |many: &mut usize| std::mem::replace(many, many.saturating_sub(1)) > 0;
        if self.with(|state| take(&mut state.statements.lost)) {
            return Err(std::io::Error::other("lost"));
        }
        if self.with(|state| take(&mut state.statements.cut)) {
            let mut output: Value = serde_json::from_slice(answer.body())?;
            output["Responses"].as_array_mut().and_then(Vec::pop);
            return Ok(respond(StatusCode::OK, &output));
        }
        Ok(answer)
    }

    fn fails(&self, key: &str) -> Option<&'static str> {
        self.with(|state| {
            let fails = &mut state.statements.fails;
            let at = fails.iter().position(|(item, _)| key.contains(item))?;
            Some(fails.remove(at).1)
        })
    }

    /// Passes a `BatchExecuteStatement`. A statement does not run if `fails` has a code for its item. The others run.
    ///
    /// # Errors
    ///
    /// If the emulator does not answer.
    pub async fn statements(
        &self,
        parts: Parts,
        body: &Bytes,
        fails: impl Fn(&str) -> Option<&'static str>,
    ) -> Result<Response<Bytes>, std::io::Error> {
        let mut input: Value = serde_json::from_slice(body)?;
        let all: Vec<Value> = input["Statements"].take().as_array().cloned().unwrap_or_default();
        let keys: Vec<&str> = all.iter().map(key).collect();
        if (1..keys.len()).any(|at| keys[..at].contains(&keys[at])) {
            let said = "Provided list of item keys contains duplicates";
            return Ok(Refusal::new("ValidationException", said).answer());
        }
        let failed = |statement, key| self.denied(statement).or_else(|| fails(key));
        let failed: Vec<Option<&str>> =
            all.iter().zip(&keys).map(|(statement, key)| failed(statement, key)).collect();
        let run: Vec<&Value> =
            all.iter().zip(&failed).filter(|(_, code)| code.is_none()).map(|(one, _)| one).collect();
        let mut results = Vec::new();
        if !run.is_empty() {
            input["Statements"] = json!(run);
            let answer = self.forward(parts.clone(), Bytes::from(input.to_string())).await?;
            if answer.status() != StatusCode::OK {
                return Ok(answer);
            }
            let mut output: Value = serde_json::from_slice(answer.body())?;
            results = output["Responses"].take().as_array().cloned().unwrap_or_default();
            if self.with(|state| state.statements.shows_duplicates) {
                for (statement, result) in run.into_iter().zip(&mut results) {
                    self.show(&parts, statement, result).await?;
                }
            }
        }
        let mut results = results.into_iter();
        let result = |code: Option<&str>| match code {
            Some(code) => json!({"Error": {"Code": code, "Message": "as the test wants it"}}),
            None => results.next().unwrap_or_default(),
        };
        let results: Vec<Value> = failed.into_iter().map(result).collect();
        Ok(respond(StatusCode::OK, &json!({"Responses": results})))
    }

    fn denied(&self, statement: &Value) -> Option<&'static str> {
        let words = statement["Statement"].as_str().unwrap_or_default();
        let action = match words.split(' ').next() {
            Some("INSERT") => "dynamodb:PartiQLInsert",
            Some("UPDATE") => "dynamodb:PartiQLUpdate",
            _ => return None,
        };
        let is = |(denied, table): &(String, String)| denied == action && self::table(words).ends_with(table);
        self.with(|state| state.denied.iter().any(is)).then_some("AccessDenied")
    }

    async fn show(&self, parts: &Parts, statement: &Value, result: &mut Value) -> Result<(), std::io::Error> {
        let asks = statement["ReturnValuesOnConditionCheckFailure"] == "ALL_OLD";
        if result["Error"]["Code"] != "DuplicateItem" || !asks {
            return Ok(());
        }
        let mut ask = Request::post("/").body(()).map_err(std::io::Error::other)?.into_parts().0;
        ask.headers = parts.headers.clone();
        ask.headers.insert("x-amz-target", HeaderValue::from_static("DynamoDB_20120810.GetItem"));
        let table = table(statement["Statement"].as_str().unwrap_or_default());
        let asked = json!({"TableName": table, "Key": {"id": {"S": key(statement)}}, "ConsistentRead": true});
        let answer = self.forward(ask, Bytes::from(asked.to_string())).await?;
        let mut answer: Value = serde_json::from_slice(answer.body())?;
        result["Error"]["Item"] = answer["Item"].take();
        Ok(())
    }
}

/// The name of the statement's table.
fn table(words: &str) -> &str {
    words.split('"').nth(1).unwrap_or_default()
}

/// The key of the statement's item: the parameter of `id`.
fn key(statement: &Value) -> &str {
    let words = statement["Statement"].as_str().unwrap_or_default();
    let at = words.find("'id': ?").or_else(|| words.find(r#""id" = ?"#));
    let at = at.map(|at| words[..at].matches('?').count());
    at.and_then(|at| statement["Parameters"][at]["S"].as_str()).unwrap_or(words)
}
