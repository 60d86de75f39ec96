//! Golden questions: chats with the answers that count as right, and how a bundle fares with them.
//!
//! A file is a JSON array of objects:
//!
//! | key | |
//! |---|---|
//! | `id` | a name of its own |
//! | `messages` | the chat, `{"role": …, "content": …}` each; the answer is what comes next |
//! | `accept` | the answers that are right, at least one; blanks around an answer do not count, everything else does |
//! | `abstain` | true where the right answer is that there is none; false if left out |
//!
//! Other keys, such as `citation`, are for other readers. An answer abstains if it is one that a question with `abstain` accepts: files
//! say in `accept` with which words a model abstains.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::engine::{End, Engine, EngineError, GenerateOptions};

/// The roles that prompt tables know.
pub const ROLES: [&str; 3] = ["system", "user", "assistant"];

/// A message of a chat.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Message {
    /// One of [`ROLES`].
    pub role: String,
    /// Its text.
    pub content: String,
}

/// A question with its right answers.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Question {
    /// Unlike that of every other question.
    pub id: String,
    /// What comes before the answer.
    pub messages: Vec<Message>,
    /// Right answers.
    pub accept: Vec<String>,
    /// Whether these are to abstain.
    #[serde(default)]
    pub abstain: bool,
}

/// Sound questions, at least one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Golden {
    questions: Vec<Question>,
    abstentions: BTreeSet<String>,
}

/// What is wrong with a file of questions: all of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", faults.join("; "))]
pub struct GoldenError {
    /// One each.
    pub faults: Vec<String>,
}

/// What an answer is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Accepted, to a question that has an answer.
    Right,
    /// Accepted, to a question that has none.
    RightAbstention,
    /// Abstained from a question that has an answer.
    WrongAbstention,
    /// Anything else but to abstain, to a question that has no answer.
    MissedAbstention,
    /// Not accepted, to a question that has an answer.
    Wrong,
}

impl Verdict {
    /// Whether the answer counts.
    pub fn is_accepted(self) -> bool {
        matches!(self, Self::Right | Self::RightAbstention)
    }

    /// In words.
    pub fn text(self) -> &'static str {
        match self {
            Self::Right => "right",
            Self::RightAbstention => "right to abstain",
            Self::WrongAbstention => "abstained from a question that has an answer",
            Self::MissedAbstention => "answered a question that has no answer",
            Self::Wrong => "wrong",
        }
    }
}

/// Answers counted by worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Tally {
    /// Answers.
    pub questions: usize,
    /// Of these accepted, right abstentions among them.
    pub accepted: usize,
    /// Questions that have no answer.
    pub to_abstain: usize,
    /// Of these abstained from.
    pub right_abstentions: usize,
    /// Questions with an answer that were abstained from.
    pub wrong_abstentions: usize,
}

impl Tally {
    /// Counts an answer.
    pub fn add(&mut self, verdict: Verdict) {
        self.questions += 1;
        self.accepted += usize::from(verdict.is_accepted());
        self.to_abstain += usize::from(matches!(verdict, Verdict::RightAbstention | Verdict::MissedAbstention));
        self.right_abstentions += usize::from(verdict == Verdict::RightAbstention);
        self.wrong_abstentions += usize::from(verdict == Verdict::WrongAbstention);
    }
}

impl Golden {
    /// Reads a file's text.
    ///
    /// # Errors
    /// [`GoldenError`] names every question that is not sound.
    pub fn parse(text: &str) -> Result<Self, GoldenError> {
        let questions: Vec<Question> = serde_json::from_str(text).map_err(|e| GoldenError { faults: vec![e.to_string()] })?;
        let mut faults = Vec::new();
        let mut ids = BTreeSet::new();
        for question in &questions {
            let id = &question.id;
            if !ids.insert(id) {
                faults.push(format!("two questions have the id {id:?}"));
            }
            if question.messages.is_empty() {
                faults.push(format!("{id:?} has no messages"));
            }
            if question.accept.is_empty() {
                faults.push(format!("{id:?} accepts no answer"));
            }
            let strange = question.messages.iter().filter(|message| !ROLES.contains(&message.role.as_str()));
            faults.extend(strange.map(|message| format!("{id:?} has a message of the role {:?}; roles are {}", message.role, ROLES.join(", "))));
        }
        if questions.is_empty() {
            faults.push("there are no questions".to_owned());
        }
        if !faults.is_empty() {
            return Err(GoldenError { faults });
        }
        let to_abstain = questions.iter().filter(|question| question.abstain);
        let abstentions = to_abstain.flat_map(|question| &question.accept).map(|answer| answer.trim().to_owned()).collect();
        Ok(Self { questions, abstentions })
    }

    /// In the file's order.
    pub fn questions(&self) -> &[Question] {
        &self.questions
    }

    /// What `answer` to `question`, one of these, is worth.
    pub fn judge(&self, question: &Question, answer: &str) -> Verdict {
        let answer = answer.trim();
        let is_accepted = question.accept.iter().any(|accepted| accepted.trim() == answer);
        match (question.abstain, is_accepted) {
            (false, true) => Verdict::Right,
            (true, true) => Verdict::RightAbstention,
            (false, false) if self.abstentions.contains(answer) => Verdict::WrongAbstention,
            (false, false) => Verdict::Wrong,
            (true, false) => Verdict::MissedAbstention,
        }
    }
}

/// Why a question was not answered.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// Its prompt fills the context.
    #[error("question {id:?} has {tokens} tokens, which leave no room for an answer in the context of {context}")]
    Room {
        /// The question.
        id: String,
        /// Tokens of its prompt.
        tokens: usize,
        /// Tokens of the context.
        context: u32,
    },
    /// The bundle failed.
    #[error("question {id:?}: {error}")]
    Engine {
        /// The question.
        id: String,
        /// Why.
        error: EngineError,
    },
}

/// An answer as generated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Its text.
    pub text: String,
    /// Tokens generated.
    pub tokens: u32,
    /// Whether the model ended it, and not the limit.
    pub is_whole: bool,
}

/// Answers a question greedily through the bundle's chat template, by at most `max_tokens` tokens and what the context holds.
///
/// # Errors
/// [`AskError`].
pub fn ask(engine: &mut Engine, question: &Question, max_tokens: u32) -> Result<Answer, AskError> {
    let failed = |error| AskError::Engine { id: question.id.clone(), error };
    let chat: Vec<(&str, &str)> = question.messages.iter().map(|message| (message.role.as_str(), message.content.as_str())).collect();
    let prompt = engine.chat_prompt(&chat, true).map_err(failed)?;
    let context = engine.info().context;
    let room = u32::try_from(prompt.len()).ok().and_then(|tokens| context.checked_sub(tokens)).filter(|room| *room > 0);
    let Some(room) = room else { return Err(AskError::Room { id: question.id.clone(), tokens: prompt.len(), context }) };
    let options = GenerateOptions { max_tokens: max_tokens.clamp(1, room), ..GenerateOptions::default() };
    let mut text = String::new();
    let take = |_, piece: &str| {
        text.push_str(piece);
        true
    };
    let generated = engine.generate(&prompt, &options, take).map_err(|e| failed(e.error))?;
    Ok(Answer { text, tokens: generated.tokens, is_whole: generated.end == End::EndOfText as u32 })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"[
        {"id": "a", "messages": [{"role": "user", "content": "2 + 2?"}], "accept": ["4", " four "], "citation": null},
        {"id": "b", "messages": [{"role": "user", "content": "why?"}], "accept": ["No idea."], "abstain": true}
    ]"#;

    #[test]
    fn answers_are_worth_what_the_file_says() {
        let golden = Golden::parse(TEXT).unwrap();
        let mut tally = Tally::default();
        let cases = [
            (0, " 4\n", Verdict::Right),
            (0, "four", Verdict::Right),
            (0, "Four", Verdict::Wrong),
            (0, "No idea. ", Verdict::WrongAbstention),
            (1, "No idea.", Verdict::RightAbstention),
            (1, "4", Verdict::MissedAbstention),
        ];
        for (question, answer, verdict) in cases {
            assert_eq!(golden.judge(&golden.questions()[question], answer), verdict, "{answer}");
            tally.add(verdict);
        }
        assert_eq!(tally, Tally { questions: 6, accepted: 3, to_abstain: 2, right_abstentions: 1, wrong_abstentions: 1 });
        assert_eq!(serde_json::to_string(&Verdict::MissedAbstention).unwrap(), "\"missed_abstention\"");
    }

    #[test]
    fn an_abstention_may_be_among_the_answers() {
        let text = TEXT.replace("\" four \"", "\"No idea.\"");
        let golden = Golden::parse(&text).unwrap();
        assert_eq!(golden.judge(&golden.questions()[0], "No idea."), Verdict::Right);
    }

    #[test]
    fn all_faults_are_named() {
        let text = r#"[{"id": "a", "messages": [], "accept": []}, {"id": "a", "messages": [{"role": "wizard", "content": ""}], "accept": ["x"]}]"#;
        let error = Golden::parse(text).unwrap_err();
        assert_eq!(error.faults.len(), 4, "{error}");
        for part in ["\"a\" has no messages", "accepts no answer", "two questions have the id \"a\"", "\"wizard\"; roles are system, user, assistant"]
        {
            assert!(error.to_string().contains(part), "{error}");
        }
        assert!(Golden::parse("[]").unwrap_err().to_string().contains("no questions"));
        assert!(Golden::parse("[{\"id\": \"a\"}]").unwrap_err().to_string().contains("messages"));
        assert!(Golden::parse("{").is_err());
    }
}
