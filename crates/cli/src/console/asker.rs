//! Questions of pages, answered by the functions of the commands.

use std::pin::pin;
use std::process::ExitCode;
use std::rc::Rc;
use std::time::Duration;

use outbox_console::{Answer, Answering, Ask, Question, Refusal};
use outbox_postgres::Budget;
use serde_json::json;
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio::task::JoinSet;
use uuid::Uuid;

use super::place::Place;
use crate::asked::{Asked, InUse};
use crate::options::Options;
use crate::safe::word;
use crate::stopped::Stopped;

/// So many pages are answered at a time: each opens connections to the databases.
const TOGETHER: usize = 2;
const WAITING_MAX: usize = 64;
/// All pages and forms share them: a page costs the database little, however many look.
const CONNECTIONS_MAX: usize = 4;
const ANSWER_WITHIN: Duration = Duration::from_secs(20);
/// So long a page waits for the end of a repair that has begun.
const ENDS_WITHIN: Duration = Duration::from_millis(1500);
/// A repair that runs notices Ctrl-C, too, and writes down how far it came.
const END_WITHIN: Duration = Duration::from_secs(10);

/// Hands questions over to the thread on which commands run.
#[derive(Debug)]
pub(super) struct Asker {
    questions: mpsc::Sender<Asking>,
    /// What each command ends with: the installation.
    place: String,
}

#[derive(Debug)]
struct Asking {
    question: Question,
    reply: oneshot::Sender<Result<Answer, Refusal>>,
}

#[derive(Debug)]
pub(crate) struct Questions {
    asked: mpsc::Receiver<Asking>,
    place: watch::Receiver<Place>,
    connections: Budget,
    /// Those that run.
    changes: JoinSet<()>,
}

/// For the installation for which this process was started.
pub(super) fn new(options: &Options) -> (Asker, Questions) {
    let command = options.command(Vec::<&str>::new());
    let (_, place) = watch::channel(Place::of(options));
    about(place, command.trim_start_matches("outbox").to_owned())
}

/// `shown` is what a command ends with that is pasted into a terminal.
pub(super) fn about(place: watch::Receiver<Place>, shown: String) -> (Asker, Questions) {
    let (questions, asked) = mpsc::channel(WAITING_MAX);
    let connections = Budget::of(CONNECTIONS_MAX, 0);
    (Asker { questions, place: shown }, Questions { asked, place, connections, changes: JoinSet::new() })
}

impl Ask for Asker {
    fn ask(&self, question: Question) -> Answering {
        let questions = self.questions.clone();
        Box::pin(async move {
            let (reply, answer) = oneshot::channel();
            let _ = questions.send(Asking { question, reply }).await;
            answer
                .await
                .unwrap_or_else(|_| Err(refusal(&Stopped::failed("the console ends", "start it again"))))
        })
    }

    fn command(&self, words: &[String]) -> String {
        let words: Vec<String> = words.iter().map(|one| word(one).to_string()).collect();
        format!("outbox {}{}", words.join(" "), self.place)
    }
}

impl Questions {
    /// Until nothing asks any more.
    pub(crate) async fn answer<F>(&mut self, answer: F)
    where
        F: AsyncFn(Vec<String>, Asked) -> Result<ExitCode, Stopped> + Copy + 'static,
    {
        let together = Rc::new(Semaphore::new(TOGETHER));
        while let Some(Asking { question, mut reply }) = self.asked.recv().await {
            let place = self.place.borrow().clone();
            let (words, together) = (place.command(&question.words), Rc::clone(&together));
            let in_use = InUse { connections: Some(self.connections.clone()), ..place.in_use };
            let asked = Asked::by_page(question.who, question.words, in_use);
            // Those that have ended are forgotten.
            while self.changes.try_join_next().is_some() {}
            if question.changes {
                self.changes.spawn_local(async move {
                    let mut running = pin!(answer(words, asked.clone()));
                    let went = tokio::select! {
                        went = &mut running => told(went, &asked),
                        repair = goes_on(&asked) => {
                            let _ = reply.send(Ok(Answer { json: json!({"repair": repair, "begun": true}) }));
                            // What becomes of it is in the list of repairs.
                            let _ = running.await;
                            return;
                        }
                    };
                    let _ = reply.send(went);
                });
                continue;
            }
            tokio::task::spawn_local(async move {
                let looks = async {
                    let _place = together.acquire().await;
                    tokio::time::timeout(ANSWER_WITHIN, answer(words, asked.clone())).await
                };
                tokio::select! {
                    went = looks => {
                        let late = || Err(Stopped::unreachable("no answer in time", "see `outbox doctor`"));
                        let _ = reply.send(told(went.unwrap_or_else(|_| late()), &asked));
                    }
                    // The browser has gone.
                    () = reply.closed() => {}
                }
            });
        }
    }

    /// Waits for the changes that run.
    pub(crate) async fn end(&mut self) {
        let all = async { while self.changes.join_next().await.is_some() {} };
        let _ = tokio::time::timeout(END_WITHIN, all).await;
    }
}

/// The repair that has begun, and does not end soon.
async fn goes_on(asked: &Asked) -> Uuid {
    let repair = asked.begun().await;
    tokio::time::sleep(ENDS_WITHIN).await;
    repair
}

/// A command that found problems has answered, too.
fn told(went: Result<ExitCode, Stopped>, asked: &Asked) -> Result<Answer, Refusal> {
    went.map_err(|stopped| refusal(&stopped))?;
    let nothing = || Stopped::failed("it gave no answer", "run the command in a terminal");
    let json = asked.answer().ok_or_else(|| refusal(&nothing()))?;
    Ok(Answer { json })
}

fn refusal(stopped: &Stopped) -> Refusal {
    Refusal { code: stopped.code(), problem: stopped.problem.clone(), remedy: stopped.remedy.clone() }
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use tokio::task::LocalSet;

    use super::*;

    #[derive(Parser)]
    struct Of {
        #[command(flatten)]
        options: Options,
    }

    fn question(words: &[&str]) -> Question {
        let words = words.iter().map(|word| (*word).to_owned()).collect();
        Question { words, who: "ann, console".to_owned(), changes: false }
    }

    /// Guards promise 8: a question is a command with the viewer's name, its answer is what the command would print, and a command
    /// that stops is a refusal with its remedy.
    #[tokio::test]
    async fn a_question_is_a_command() {
        let options = Of::try_parse_from(["outbox"]).unwrap().options;
        let (asker, mut questions) = new(&options);
        let answer = async |words: Vec<String>, asked: Asked| {
            if words[1] == "status" {
                asked.keeps(&(asked.who(), asked.words()));
                return Ok(ExitCode::FAILURE);
            }
            Err(Stopped::unusable("no", "do so"))
        };
        let asks = async {
            let answered = asker.ask(question(&["status"])).await.unwrap();
            assert_eq!(answered.json, serde_json::json!(["ann, console", ["status"]]));
            let refused = asker.ask(question(&["why", "x"])).await.unwrap_err();
            assert_eq!((refused.code, refused.problem.as_str(), refused.remedy.as_str()), (2, "no", "do so"));
        };
        let answers = async {
            tokio::select! {
                () = asks => {}
                () = questions.answer(answer) => panic!("it goes on"),
            }
        };
        LocalSet::new().run_until(answers).await;
        assert!(asker.command(&["why".to_owned(), "a b".to_owned()]).starts_with("outbox why 'a b'"));
    }

    /// Guards promise 8: a page learns that a repair was refused, however long that takes. One that has begun keeps no page waiting, and
    /// goes on.
    #[tokio::test(start_paused = true)]
    async fn a_page_waits_until_a_repair_has_begun() {
        let options = Of::try_parse_from(["outbox"]).unwrap().options;
        let (asker, mut questions) = new(&options);
        let answer = async |words: Vec<String>, asked: Asked| {
            tokio::time::sleep(Duration::from_secs(10)).await;
            match words[1].as_str() {
                "replay" => Err(Stopped::failed("another replay runs", "wait for it")),
                "quick" => {
                    asked.has_begun(Uuid::nil());
                    asked.keeps(&1);
                    Ok(ExitCode::SUCCESS)
                }
                _ => {
                    asked.has_begun(Uuid::nil());
                    tokio::time::sleep(Duration::from_secs(3600)).await;
                    Ok(ExitCode::SUCCESS)
                }
            }
        };
        let change = |word: &str| Question { changes: true, ..question(&[word]) };
        let asks = async {
            let refused = asker.ask(change("replay")).await.unwrap_err();
            assert_eq!((refused.code, refused.problem.as_str()), (1, "another replay runs"));
            assert_eq!(asker.ask(change("quick")).await.unwrap().json, 1);
            let begun = asker.ask(change("dlq")).await.unwrap().json;
            assert_eq!(begun, serde_json::json!({"repair": Uuid::nil(), "begun": true}));
        };
        let answers = async {
            tokio::select! {
                () = asks => {}
                () = questions.answer(answer) => panic!("it goes on"),
            }
        };
        LocalSet::new().run_until(answers).await;
        assert!(!questions.changes.is_empty(), "the last one runs");
    }
}
