//! Copies of the fixture checkpoints that tests damage.

use serde_json::{Map, Value};
use slmc::import::{ImportOptions, Imported, import};
use slmc_ir::graph::{Graph, verify::verify};
use std::{
    fs,
    path::{Path, PathBuf},
};
use tempfile::TempDir;

/// The folder of a fixture.
pub fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures").join(name)
}

/// A copy of a fixture's checkpoint in a folder that is removed at the end.
pub struct Copy {
    folder: TempDir,
}

impl Copy {
    /// Copies the fixture called `name`.
    pub fn of(name: &str) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        for entry in fs::read_dir(fixture(name)).expect("a fixture is a folder") {
            let file = entry.expect("a readable folder").file_name();
            if file != "expected.safetensors" {
                fs::copy(fixture(name).join(&file), folder.path().join(&file)).expect("a fixture copies");
            }
        }
        Self { folder }
    }

    pub fn dir(&self) -> &Path {
        self.folder.path()
    }

    pub fn path(&self, file: &str) -> PathBuf {
        self.dir().join(file)
    }

    pub fn write(&self, file: &str, content: impl AsRef<[u8]>) {
        fs::write(self.path(file), content).expect("the copy is writable");
    }

    pub fn remove(&self, file: &str) {
        fs::remove_file(self.path(file)).expect("the file is there");
    }

    /// Changes one value of `config.json`; null removes it. A key with a dot is one in an object.
    pub fn set(&self, key: &str, value: Value) {
        self.config(|map| {
            let (map, key) = match key.split_once('.') {
                Some((outer, key)) => (map.get_mut(outer).and_then(Value::as_object_mut).expect("an object"), key),
                None => (map, key),
            };
            if value.is_null() {
                map.remove(key)
            } else {
                map.insert(key.to_owned(), value)
            };
        });
    }

    /// Changes `config.json`.
    pub fn config(&self, change: impl FnOnce(&mut Map<String, Value>)) {
        let text = fs::read(self.path("config.json")).expect("the copy is readable");
        let mut map: Map<String, Value> = serde_json::from_slice(&text).expect("fixtures are JSON");
        change(&mut map);
        self.write("config.json", Value::Object(map).to_string());
    }

    /// The tensors of `model.safetensors`, in the order of their bytes.
    pub fn tensors(&self) -> Vec<Tensor> {
        let bytes = fs::read(self.path("model.safetensors")).expect("the copy is readable");
        let mut length = [0; 8];
        length.copy_from_slice(&bytes[..8]);
        let data = 8 + u64::from_le_bytes(length) as usize;
        let header: Map<String, Value> = serde_json::from_slice(&bytes[8..data]).expect("fixtures are JSON");
        let mut tensors: Vec<(usize, Tensor)> = header
            .into_iter()
            .filter(|(name, _)| name != "__metadata__")
            .map(|(name, entry)| {
                let offset = |i: usize| entry["data_offsets"][i].as_u64().expect("offsets are numbers") as usize;
                let shape = entry["shape"].as_array().expect("a shape").iter().map(|d| d.as_u64().expect("a size") as usize).collect();
                let dtype = entry["dtype"].as_str().expect("a dtype").to_owned();
                (offset(0), Tensor { name, dtype, shape, bytes: bytes[data + offset(0)..data + offset(1)].to_vec() })
            })
            .collect();
        tensors.sort_by_key(|(offset, _)| *offset);
        tensors.into_iter().map(|(_, tensor)| tensor).collect()
    }

    /// Writes `tensors` as the safetensors file `file`.
    pub fn store(&self, file: &str, tensors: &[Tensor]) {
        let mut header = Map::new();
        let mut data = Vec::new();
        for tensor in tensors {
            let start = data.len();
            data.extend_from_slice(&tensor.bytes);
            header
                .insert(tensor.name.clone(), serde_json::json!({"dtype": tensor.dtype, "shape": tensor.shape, "data_offsets": [start, data.len()]}));
        }
        self.write(file, frame(&Value::Object(header).to_string(), &data));
    }

    /// Changes the tensors of `model.safetensors`.
    pub fn edit(&self, change: impl FnOnce(&mut Vec<Tensor>)) {
        let mut tensors = self.tensors();
        change(&mut tensors);
        self.store("model.safetensors", &tensors);
    }

    /// Imports the copy. What is accepted must be a graph that verifies and survives its text form.
    pub fn import(&self) -> Result<Imported, String> {
        let model = import(self.dir(), &ImportOptions::default()).map_err(|error| error.to_string())?;
        check_graph(&model.graph);
        Ok(model)
    }

    /// Imports the copy, which must fail with a message that holds every one of `parts`.
    pub fn refused(&self, parts: &[&str]) -> String {
        let message = match self.import() {
            Ok(_) => panic!("imported, a refusal naming {parts:?} is expected"),
            Err(message) => message,
        };
        for part in parts {
            assert!(message.contains(part), "{part:?} is not in: {message}");
        }
        message
    }
}

/// A graph that import made must verify and survive its text form.
pub fn check_graph(graph: &Graph) {
    if let Err(faults) = verify(graph) {
        panic!("{faults:?}");
    }
    let text = graph.to_string();
    assert_eq!(Graph::parse(&text).as_ref(), Ok(graph), "{text}");
}

/// A stored tensor.
#[derive(Clone)]
pub struct Tensor {
    pub name: String,
    pub dtype: String,
    pub shape: Vec<usize>,
    pub bytes: Vec<u8>,
}

/// The tensor called `name`.
pub fn find<'a>(tensors: &'a mut [Tensor], name: &str) -> &'a mut Tensor {
    tensors.iter_mut().find(|t| t.name == name).unwrap_or_else(|| panic!("no tensor {name}"))
}

/// A safetensors file of this header text and data.
pub fn frame(header: &str, data: &[u8]) -> Vec<u8> {
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend_from_slice(header.as_bytes());
    file.extend_from_slice(data);
    file
}
