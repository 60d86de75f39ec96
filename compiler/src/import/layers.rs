//! What differs from layer to layer: which of them see a window only.

use super::{config::Config, json_file::brief};
use serde_json::Value;

/// Largest accepted window, in positions.
const MAX_WINDOW: usize = 1 << 28;

impl Config<'_> {
    /// A count of positions that a layer sees, itself included; `None` where `key` is absent or null.
    pub fn window(&mut self, key: &str) -> Option<u32> {
        self.fields.optional_size(key, 1..=MAX_WINDOW).map(|window| window as u32)
    }

    /// As [`Config::window`], of a family whose layers cannot do without one.
    pub fn needed_window(&mut self, key: &str) -> Option<u32> {
        Some(self.fields.size(key, 1..=MAX_WINDOW) as u32)
    }

    /// The window of each stored layer: `window` for those that `layer_types` calls `sliding_attention`, or where it is absent,
    /// for which `slides`.
    pub fn layer_windows(&mut self, window: Option<u32>, slides: impl Fn(usize) -> bool) -> Vec<Option<u32>> {
        const KEY: &str = "layer_types";
        let blocks = self.sizes.blocks;
        let by_pattern = || (0..blocks).map(|layer| window.filter(|_| slides(layer))).collect();
        let list = match self.fields.value(KEY) {
            None => return by_pattern(),
            Some(Value::Array(list)) => list,
            Some(other) => {
                self.fields.fault(KEY, format!("found {}, a list of {blocks} names is expected", brief(other)));
                return by_pattern();
            }
        };
        if self.is_sound() && list.len() != blocks {
            self.fields.fault(KEY, format!("has {} names, num_hidden_layers = {blocks} are expected", list.len()));
        }
        let mut windows = Vec::with_capacity(blocks);
        for (layer, name) in list.iter().enumerate() {
            windows.push(match name.as_str() {
                Some("full_attention") => None,
                Some("sliding_attention") => {
                    if window.is_none() {
                        self.fields.fault(KEY, format!("layer {layer} has sliding_attention, but no sliding_window is in effect"));
                    }
                    window
                }
                _ => {
                    let expected = format!("of layer {layer}; full_attention and sliding_attention are supported");
                    self.fields.unsupported(KEY, name, expected);
                    None
                }
            });
        }
        windows.resize(blocks, None);
        windows
    }
}
