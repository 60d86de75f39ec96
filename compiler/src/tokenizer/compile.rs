//! From a folder to the bytes of `tokenizer.bin`.

use std::path::Path;

use serde::Deserialize;
use slmc_runtime_stub::tokenizer::format::{MAX_STAGES, Meta, NONE, Section};
use slmc_runtime_stub::tokenizer::{FormatError, Tokenizer};

use super::added::{self, AddedToken};
use super::automaton::Stage;
use super::chat::{self, ChatSupport, Date};
use super::classes::{FlagSets, PointSets};
use super::composition::nfc_words;
use super::error::TokenizerError;
use super::files::Folder;
use super::sections::Sections;
use super::support::Pipeline;
use super::vocabulary::BpeModel;

/// Choices of a compilation.
#[derive(Debug, Clone, Default)]
pub struct TokenizerOptions {
    /// The date for a chat template that asks for it; without one such a template takes its own default or does not compile.
    pub today: Option<Date>,
}

/// A compiled tokenizer.
#[derive(Debug, Clone)]
pub struct CompiledTokenizer {
    bytes: Vec<u8>,
    chat: ChatSupport,
    vocab_size: u32,
}

impl CompiledTokenizer {
    /// Compiles the tokenizer and the chat template of a checkpoint folder with default options.
    pub fn from_dir(dir: &Path) -> Result<CompiledTokenizer, TokenizerError> {
        Self::from_dir_with(dir, &TokenizerOptions::default())
    }

    /// Compiles the tokenizer and the chat template of a checkpoint folder.
    pub fn from_dir_with(dir: &Path, options: &TokenizerOptions) -> Result<CompiledTokenizer, TokenizerError> {
        compile(&Folder::read(dir)?, options)
    }

    /// The bytes of `tokenizer.bin`.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Whether chats can be prompted, and if not why.
    pub fn chat(&self) -> &ChatSupport {
        &self.chat
    }

    /// Number of ids; a model's embedding must have at least as many rows.
    pub fn vocab_size(&self) -> u32 {
        self.vocab_size
    }

    /// The runtime's view of [`Self::bytes`].
    pub fn open(&self) -> Result<Tokenizer<'_>, FormatError> {
        Tokenizer::open(&self.bytes)
    }
}

fn compile(folder: &Folder, options: &TokenizerOptions) -> Result<CompiledTokenizer, TokenizerError> {
    let path = || folder.tokenizer_path.clone();
    let json = |source| TokenizerError::Json { path: path(), source };
    let pipeline = Pipeline::read(&folder.tokenizer);
    let mut unsupported = pipeline.unsupported;
    if pipeline.stages.len() > MAX_STAGES {
        unsupported.push(format!("{} pre_tokenizer stages (at most {MAX_STAGES})", pipeline.stages.len()));
    }
    if !unsupported.is_empty() {
        return Err(TokenizerError::Unsupported { path: path(), items: unsupported });
    }
    let model = BpeModel::deserialize(&folder.tokenizer["model"]).map_err(json)?;
    let listed = Option::<Vec<AddedToken>>::deserialize(&folder.tokenizer["added_tokens"]).map_err(json)?;
    let tokens = added::effective(listed.unwrap_or_default(), pipeline.nfc);

    let mut faults = added::faults(&tokens);
    let mut sections = Sections::new();
    if let Err(more) = model.write(&tokens, &mut sections) {
        faults.extend(more);
    }
    let vocab_size = model.size(&tokens);
    let mut known = |name: &str, ids: &[u64]| -> Vec<u32> {
        let known = |&id: &u64| u32::try_from(id).ok().filter(|&id| id < vocab_size);
        faults.extend(ids.iter().filter(|id| known(id).is_none()).map(|id| format!("{name} id {id} is not below the vocabulary's {vocab_size}")));
        ids.iter().filter_map(known).collect()
    };
    let prefix = known("post_processor", &pipeline.prefix);
    let suffix = known("post_processor", &pipeline.suffix);
    let mut eos = known("eos_token", &folder.eos_ids);
    let id_of = |name: &str| {
        let content = folder.named_tokens.get(name)?;
        tokens.iter().find(|t| t.content == *content).map(|t| t.id).or_else(|| model.vocab.get(content).copied())
    };
    if eos.is_empty() {
        eos.extend(id_of("eos_token"));
    }
    let bos = id_of("bos_token").or_else(|| known("bos_token", folder.bos_id.as_slice()).first().copied());
    if !faults.is_empty() {
        return Err(TokenizerError::Invalid { path: path(), items: faults });
    }

    sections.words(Section::Prefix, prefix);
    sections.words(Section::Suffix, suffix);
    sections.words(Section::Eos, eos);
    if pipeline.nfc {
        sections.words(Section::Nfc, nfc_words());
    }
    added::write(&tokens, &mut sections);
    let classes = write_stages(&pipeline.stages, &mut sections).map_err(|item| TokenizerError::Unsupported { path: path(), items: vec![item] })?;
    let (chat, features) = chat::write(folder, &tokens, options.today, &mut sections);
    let mut meta = [0; Meta::COUNT];
    meta[Meta::VocabSize as usize] = vocab_size;
    meta[Meta::Classes as usize] = classes;
    meta[Meta::Bos as usize] = bos.unwrap_or(NONE);
    meta[Meta::ChatFeatures as usize] = features;
    sections.words(Section::Meta, meta);
    let bytes = sections.finish().ok_or_else(|| TokenizerError::Invalid { path: path(), items: vec!["larger than 4 GiB".to_owned()] })?;
    Ok(CompiledTokenizer { bytes, chat, vocab_size })
}

/// Fills the sections of classes and stages and returns the number of classes; the error names what is unsupported.
fn write_stages(patterns: &[super::pattern::StagePattern], sections: &mut Sections) -> Result<u32, String> {
    let mut sets = PointSets::default();
    let stages: Vec<Stage> = patterns.iter().map(|pattern| Stage::new(pattern, &mut sets)).collect();
    let flags = FlagSets::intern(&mut sets);
    let classes = sets.partition().ok_or("pre_tokenizer patterns with more than 255 classes of characters")?;
    let (mut rows, mut transitions, mut matches) = (Vec::new(), Vec::new(), Vec::new());
    for (number, stage) in stages.iter().enumerate() {
        let table = stage.table(&classes).map_err(|why| format!("pre_tokenizer stage {number} ({why})"))?;
        rows.extend([matches.len() as u32, table.matches.len() as u32, table.start]);
        transitions.extend(table.transitions);
        matches.extend(table.matches);
    }
    let (index, blocks) = classes.tables();
    sections.halves(Section::ClassIndex, index);
    sections.bytes(Section::ClassBlocks, blocks);
    sections.bytes(Section::ClassFlags, flags.table(&classes));
    sections.words(Section::Stages, rows);
    sections.halves(Section::Transitions, transitions);
    sections.bytes(Section::RowMatches, matches);
    Ok(classes.count() as u32)
}
