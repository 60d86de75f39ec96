//! Compiles a checkpoint for this machine, asks the bundle the questions of its `golden.json` and prints how many answers are
//! among the accepted ones.
//!
//! `golden MODEL [QUANT]`

use std::error::Error;
use std::path::Path;
use std::{env, fs, process};

use serde::Deserialize;
use slmc::bundle::{Bundle, Depth, GOLDEN};
use slmc::engine::{Engine, EngineOptions, GenerateOptions};
use slmc::pipeline::{self, CompileOptions, Silent};
use slmc::target::TargetSpec;

#[derive(Deserialize)]
struct Question {
    messages: Vec<Message>,
    accept: Vec<String>,
}

#[derive(Deserialize)]
struct Message {
    role: String,
    content: String,
}

fn main() {
    let args: Vec<String> = env::args().skip(1).collect();
    let result = match args.as_slice() {
        [model] => score(Path::new(model), "q4g32"),
        [model, quant] => score(Path::new(model), quant),
        _ => Err("usage: golden MODEL [QUANT]".into()),
    };
    if let Err(error) = result {
        eprintln!("error: {error}");
        process::exit(1);
    }
}

fn score(model: &Path, quant: &str) -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let dir = folder.path().join("golden.slm");
    let options = CompileOptions { quant: quant.to_owned(), ..CompileOptions::new(model.to_owned(), dir.clone(), TargetSpec::parse("host")?) };
    pipeline::compile(&options, &Silent)?;

    Bundle::open(&dir)?.verify(Depth::BeforeLoad, true)?;
    let mut engine = Engine::open(&dir, &EngineOptions::default())?;
    let questions: Vec<Question> = serde_json::from_str(&fs::read_to_string(dir.join(GOLDEN))?)?;
    let how = GenerateOptions { max_tokens: 64, ..GenerateOptions::default() };
    let mut right = 0;
    for question in &questions {
        let chat: Vec<(&str, &str)> = question.messages.iter().map(|m| (m.role.as_str(), m.content.as_str())).collect();
        let ids = engine.chat_prompt(&chat, true)?;
        let mut answer = String::new();
        engine.generate(&ids, &how, |_, text| {
            answer.push_str(text);
            true
        })?;
        right += usize::from(question.accept.iter().any(|accepted| accepted.trim() == answer.trim()));
    }
    println!("{right} of {} answers accepted ({quant})", questions.len());
    Ok(())
}
