//! From a folder to the bytes of `tokenizer.bin`.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;
use serde_json::Value;
use slmc_runtime_stub::tokenizer::format::{MAX_STAGES, Meta, NONE, Section, model};
use slmc_runtime_stub::tokenizer::{FormatError, Tokenizer};

use super::added::{self, AddedToken};
use super::automaton::Stage;
use super::bpe::{BpeModel, Unknown};
use super::chat::{self, ChatSupport, Date};
use super::classes::{FlagSets, PointSets};
use super::composition::nfc_words;
use super::error::TokenizerError;
use super::files::Folder;
use super::sections::Sections;
use super::support::{Kind, Pipeline};
use super::unigram::UnigramModel;
use super::vocabulary::{Vocabulary, listed};

/// Choices of a compilation.
#[derive(Debug, Clone, Default)]
pub struct TokenizerOptions {
    /// The date for a chat template that asks for it; without one such a template takes its own default or does not compile.
    pub today: Option<Date>,
    /// Values that the chat template sees by name, such as `enable_thinking`; they stand above those that every template sees.
    pub template_values: BTreeMap<String, Value>,
    /// Rows of the model's embedding, where known. Added tokens beyond them are left out if nothing mentions them.
    pub rows: Option<u32>,
}

/// A compiled tokenizer.
#[derive(Debug, Clone)]
pub struct CompiledTokenizer {
    bytes: Vec<u8>,
    chat: ChatSupport,
    vocab_size: u32,
    left_out: Vec<String>,
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

    /// Added tokens that the model has no embedding for, see [`TokenizerOptions::rows`].
    pub fn left_out(&self) -> &[String] {
        &self.left_out
    }

    /// The runtime's view of [`Self::bytes`].
    pub fn open(&self) -> Result<Tokenizer<'_>, FormatError> {
        Tokenizer::open(&self.bytes)
    }
}

/// The model of either kind.
enum Model {
    Bpe(BpeModel),
    Unigram(UnigramModel),
}

impl Model {
    fn read(folder: &Folder, kind: Kind) -> Result<Model, serde_json::Error> {
        let value = &folder.tokenizer["model"];
        if kind == Kind::Unigram { UnigramModel::deserialize(value).map(Model::Unigram) } else { BpeModel::deserialize(value).map(Model::Bpe) }
    }

    /// Texts with their ids.
    fn texts(&self) -> Vec<(&str, u32)> {
        match self {
            Model::Bpe(model) => model.vocab.iter().map(|(text, &id)| (text.as_str(), id)).collect(),
            Model::Unigram(model) => model.texts().collect(),
        }
    }
}

fn compile(folder: &Folder, options: &TokenizerOptions) -> Result<CompiledTokenizer, TokenizerError> {
    let path = || folder.tokenizer_path.clone();
    let json = |source| TokenizerError::Json { path: path(), source };
    let mut pipeline = Pipeline::read(&folder.tokenizer);
    let mut unsupported = std::mem::take(&mut pipeline.unsupported);
    if pipeline.stages.len() > MAX_STAGES {
        unsupported.push(format!("{} pre_tokenizer stages (at most {MAX_STAGES})", pipeline.stages.len()));
    }
    if !unsupported.is_empty() {
        return Err(TokenizerError::Unsupported { path: path(), items: unsupported });
    }
    let model = Model::read(folder, pipeline.kind).map_err(json)?;
    let texts = model.texts();
    let in_file = Option::<Vec<AddedToken>>::deserialize(&folder.tokenizer["added_tokens"]).map_err(json)?;
    let mut vocabulary = Vocabulary::new(texts.iter().copied(), pipeline.kind);
    let tokens = added::overruled(in_file.unwrap_or_default(), &folder.flagged_tokens, &vocabulary.ids);
    let mut tokens = added::effective(tokens, |text| pipeline.normalized(text));
    let left_out = options.rows.map(|rows| leave_out(&mut tokens, rows, &vocabulary, folder, &pipeline)).unwrap_or_default();
    let invalid = |items| TokenizerError::Invalid { path: path(), items };
    vocabulary.add(&tokens).map_err(invalid)?;

    let mut faults = added::faults(&tokens);
    let mut sections = Sections::new();
    vocabulary.write(texts.iter().copied(), &tokens, &pipeline, &mut sections, &mut faults);
    let unknown = match &model {
        Model::Bpe(model) => model.write(pipeline.kind, &vocabulary, &mut sections, &mut faults),
        Model::Unigram(model) => model.write(&vocabulary, &mut sections, &mut faults),
    };
    let ends = Ends::of(folder, &pipeline, &tokens, &vocabulary, &mut faults);
    if !faults.is_empty() {
        return Err(invalid(listed(faults)));
    }

    sections.words(Section::Prefix, ends.prefix);
    sections.words(Section::Suffix, ends.suffix);
    sections.words(Section::Eos, ends.eos);
    if pipeline.nfc {
        sections.words(Section::Nfc, nfc_words());
    }
    added::write(&tokens, &mut sections);
    let classes = write_stages(&pipeline.stages, &mut sections).map_err(|item| TokenizerError::Unsupported { path: path(), items: vec![item] })?;
    let (chat, features) = chat::write(folder, &tokens, options, &mut sections);
    sections.words(
        Section::Meta,
        meta(
            &pipeline,
            unknown,
            [(Meta::VocabSize, vocabulary.size), (Meta::Classes, classes), (Meta::Bos, ends.bos), (Meta::ChatFeatures, features)],
        ),
    );
    let bytes = sections.finish().ok_or_else(|| invalid(vec!["larger than 4 GiB".to_owned()]))?;
    Ok(CompiledTokenizer { bytes, chat, vocab_size: vocabulary.size, left_out })
}

/// Takes out the added tokens whose ids lie beyond the embedding, as those of other models that share the file do, and names them. What
/// the model, the post-processor, a named token or the chat template mentions stays: then the files do not belong together.
fn leave_out(tokens: &mut Vec<AddedToken>, rows: u32, vocabulary: &Vocabulary<'_>, folder: &Folder, pipeline: &Pipeline) -> Vec<String> {
    let ids = || folder.eos_ids.iter().chain(&folder.bos_id).chain(&pipeline.prefix).chain(&pipeline.suffix);
    let mentioned = |token: &AddedToken| {
        vocabulary.ids.contains_key(token.content.as_str())
            || folder.named_tokens.values().any(|content| *content == token.content)
            || folder.template.as_ref().is_some_and(|template| template.contains(&token.content))
            || ids().any(|&id| id == u64::from(token.id))
    };
    let out = tokens.extract_if(.., |token| token.id >= rows && !mentioned(token));
    out.map(|token| token.content).collect()
}

/// The words of [`Section::Meta`]; those that the pipeline does not say are given.
fn meta(pipeline: &Pipeline, unknown: Unknown, given: [(Meta, u32); 4]) -> [u32; Meta::COUNT] {
    let mut meta = [0; Meta::COUNT];
    let own = [
        (
            Meta::Model,
            match pipeline.kind {
                Kind::Bytes => model::BYTES,
                Kind::Chars => model::CHARS,
                Kind::Unigram => model::UNIGRAM,
            },
        ),
        (Meta::Spaces, pipeline.spaces),
        (Meta::Mark, pipeline.mark.map_or(0, u32::from)),
        (Meta::Unknown, unknown.id),
        (Meta::FuseUnknown, u32::from(unknown.fuse)),
        (Meta::Decode, pipeline.decode),
    ];
    for (word, value) in own.into_iter().chain(given) {
        meta[word as usize] = value;
    }
    meta
}

/// The ids at both ends of texts and answers.
struct Ends {
    prefix: Vec<u32>,
    suffix: Vec<u32>,
    eos: Vec<u32>,
    /// BOS or [`NONE`].
    bos: u32,
}

impl Ends {
    fn of(folder: &Folder, pipeline: &Pipeline, tokens: &[AddedToken], vocabulary: &Vocabulary<'_>, faults: &mut Vec<String>) -> Ends {
        let id_of = |name: &str| {
            let content = folder.named_tokens.get(name)?;
            tokens.iter().find(|t| t.content == *content).map(|t| t.id).or_else(|| vocabulary.ids.get(content.as_str()).copied())
        };
        let (bos, eos) = (id_of("bos_token"), id_of("eos_token"));
        if let Some(frame) = folder.frame {
            for (wanted, id, name) in [(frame.bos, bos, "bos_token"), (frame.eos, eos, "eos_token")] {
                if wanted && id.is_none() {
                    faults.push(format!("tokenizer_config.json has add_{name}, but its {name} is not a token"));
                }
            }
        }
        let mut known = |name: &str, ids: &[u64]| -> Vec<u32> {
            let size = vocabulary.size;
            let known = |&id: &u64| u32::try_from(id).ok().filter(|&id| id < size);
            faults.extend(ids.iter().filter(|id| known(id).is_none()).map(|id| format!("{name} id {id} is not below the vocabulary's {size}")));
            ids.iter().filter_map(known).collect()
        };
        let (prefix, suffix) = match folder.frame {
            Some(frame) => (bos.filter(|_| frame.bos).into_iter().collect(), eos.filter(|_| frame.eos).into_iter().collect()),
            None => (known("post_processor", &pipeline.prefix), known("post_processor", &pipeline.suffix)),
        };
        let mut ending = known("eos_token", &folder.eos_ids);
        if ending.is_empty() {
            ending.extend(eos);
        }
        let bos = bos.or_else(|| known("bos_token", folder.bos_id.as_slice()).first().copied());
        Ends { prefix, suffix, eos: ending, bos: bos.unwrap_or(NONE) }
    }
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
