//! The configurations of published models, as published: accepted without a warning, with the known number of weights.

use serde_json::{Value, json};
use slmc::import::{Decoder, Scaling, describe};
use slmc_ir::graph::RopeScaling;

fn accepted(config: &Value) -> Decoder {
    let name = config["model_type"].as_str().unwrap();
    let (decoder, warnings) = describe(config.as_object().unwrap(), None).unwrap_or_else(|faults| panic!("{name}: {faults:?}"));
    assert!(warnings.is_empty(), "{name}: {warnings:?}");
    decoder
}

#[test]
fn llamas_are_accepted() {
    let tinyllama = json!({"architectures": ["LlamaForCausalLM"], "attention_bias": false, "bos_token_id": 1, "eos_token_id": 2, "hidden_act": "silu",
        "hidden_size": 2048, "initializer_range": 0.02, "intermediate_size": 5632, "max_position_embeddings": 2048, "model_type": "llama",
        "num_attention_heads": 32, "num_hidden_layers": 22, "num_key_value_heads": 4, "pretraining_tp": 1, "rms_norm_eps": 1e-05,
        "rope_scaling": null, "rope_theta": 10000.0, "tie_word_embeddings": false, "torch_dtype": "bfloat16", "transformers_version": "4.35.0",
        "use_cache": true, "vocab_size": 32000});
    let smollm2 = json!({"architectures": ["LlamaForCausalLM"], "attention_bias": false, "attention_dropout": 0.0, "bos_token_id": 1, "eos_token_id": 2,
        "hidden_act": "silu", "hidden_size": 576, "initializer_range": 0.041666666666666664, "intermediate_size": 1536, "is_llama_config": true,
        "max_position_embeddings": 8192, "mlp_bias": false, "model_type": "llama", "num_attention_heads": 9, "num_hidden_layers": 30,
        "num_key_value_heads": 3, "pad_token_id": 2, "pretraining_tp": 1, "rms_norm_eps": 1e-05, "rope_interleaved": false, "rope_scaling": null,
        "rope_theta": 100000, "tie_word_embeddings": true, "torch_dtype": "bfloat16", "transformers.js_config": {"dtype": "q4"},
        "transformers_version": "4.42.3", "use_cache": true, "vocab_size": 49152});
    let llama32 = json!({"architectures": ["LlamaForCausalLM"], "attention_bias": false, "attention_dropout": 0.0, "bos_token_id": 128000,
        "eos_token_id": [128001, 128008, 128009], "head_dim": 64, "hidden_act": "silu", "hidden_size": 2048, "initializer_range": 0.02,
        "intermediate_size": 8192, "max_position_embeddings": 131072, "mlp_bias": false, "model_type": "llama", "num_attention_heads": 32,
        "num_hidden_layers": 16, "num_key_value_heads": 8, "pretraining_tp": 1, "rms_norm_eps": 1e-05, "rope_scaling": {"factor": 32.0,
        "high_freq_factor": 4.0, "low_freq_factor": 1.0, "original_max_position_embeddings": 8192, "rope_type": "llama3"}, "rope_theta": 500000.0,
        "tie_word_embeddings": true, "torch_dtype": "bfloat16", "transformers_version": "4.45.0.dev0", "use_cache": true, "vocab_size": 128256});
    for (config, head_dim, parameters) in [(tinyllama, 64, 1_100_048_384u64), (smollm2, 64, 134_515_008), (llama32, 64, 1_235_814_400)] {
        let summary = accepted(&config).summary();
        assert_eq!((summary.head_dim, summary.parameters), (head_dim, parameters));
    }
}

#[test]
fn mobilellm_is_accepted() {
    let mobilellm = json!({"architectures": ["MobileLLMForCausalLM"], "attention_bias": false, "attention_dropout": 0.0,
        "auto_map": {"AutoConfig": "configuration_mobilellm.MobileLLMConfig", "AutoModelForCausalLM": "modeling_mobilellm.MobileLLMForCausalLM"},
        "bos_token_id": 1, "eos_token_id": 2, "head_dim": 64, "hidden_act": "silu", "hidden_size": 576, "initializer_range": 0.02,
        "intermediate_size": 1536, "layer_sharing": false, "max_position_embeddings": 2048, "mlp_bias": false, "model_type": "mobilellm",
        "num_attention_heads": 9, "num_hidden_layers": 30, "num_key_value_heads": 3, "pretraining_tp": 1, "rms_norm_eps": 1e-05,
        "rope_scaling": null, "rope_theta": 10000.0, "share_embedding": true, "tie_word_embeddings": false, "torch_dtype": "float16",
        "transformers_version": "4.41.2", "use_cache": true, "vocab_size": 32000});
    let once = accepted(&mobilellm).summary();
    assert_eq!((once.parameters, once.layers, once.blocks), (124_635_456, 30, 30));
    let mut shared = mobilellm;
    shared["layer_sharing"] = json!(true);
    let twice = accepted(&shared).summary();
    assert_eq!((twice.parameters, twice.layers, twice.blocks, twice.tied), (124_635_456, 60, 30, true));
}

#[test]
fn qwens_are_accepted() {
    let qwen25 = json!({"architectures": ["Qwen2ForCausalLM"], "attention_dropout": 0.0, "bos_token_id": 151643, "eos_token_id": 151643,
        "hidden_act": "silu", "hidden_size": 896, "initializer_range": 0.02, "intermediate_size": 4864, "max_position_embeddings": 32768,
        "max_window_layers": 24, "model_type": "qwen2", "num_attention_heads": 14, "num_hidden_layers": 24, "num_key_value_heads": 2,
        "rms_norm_eps": 1e-06, "rope_theta": 1000000.0, "sliding_window": 32768, "tie_word_embeddings": true, "torch_dtype": "bfloat16",
        "transformers_version": "4.40.1", "use_cache": true, "use_mrope": false, "use_sliding_window": false, "vocab_size": 151936});
    let decoder = accepted(&qwen25);
    assert_eq!((decoder.summary().parameters, decoder.qkv_bias, decoder.o_bias), (494_032_768, true, false));
    assert!(decoder.layers.iter().all(|layer| layer.window.is_none()));
    let qwen3 = json!({"architectures": ["Qwen3ForCausalLM"], "attention_bias": false, "attention_dropout": 0.0, "bos_token_id": 151643,
        "eos_token_id": 151645, "head_dim": 128, "hidden_act": "silu", "hidden_size": 1024, "initializer_range": 0.02, "intermediate_size": 3072,
        "max_position_embeddings": 40960, "max_window_layers": 28, "model_type": "qwen3", "num_attention_heads": 16, "num_hidden_layers": 28,
        "num_key_value_heads": 8, "rms_norm_eps": 1e-06, "rope_scaling": null, "rope_theta": 1000000, "sliding_window": null,
        "tie_word_embeddings": true, "torch_dtype": "bfloat16", "transformers_version": "4.51.0", "use_cache": true,
        "use_sliding_window": false, "vocab_size": 151936});
    let decoder = accepted(&qwen3);
    assert_eq!((decoder.summary().parameters, decoder.head_norms), (596_049_920, true));
}

#[test]
fn yarn_stretches_slow_pairs_and_leaves_fast_ones() {
    let config = json!({"model_type": "qwen2", "hidden_size": 896, "intermediate_size": 4864, "max_position_embeddings": 131072,
        "num_attention_heads": 14, "num_hidden_layers": 2, "num_key_value_heads": 2, "rms_norm_eps": 1e-06, "rope_theta": 1000000.0,
        "rope_scaling": {"factor": 4.0, "original_max_position_embeddings": 32768, "type": "yarn"}, "vocab_size": 151936});
    let Scaling::Fixed(RopeScaling::PerPair { magnitude, divisors }) = &accepted(&config).layers[0].rope.scaling else { panic!("per pair") };
    assert_eq!(*magnitude, (0.1 * 4f64.ln() + 1.0) as f32);
    // Of 32 pairs, number 11.8 turns 32 times within 32,768 tokens and number 19.8 once: whole ones around them are the ends.
    assert_eq!(divisors.len(), 32);
    assert!(divisors[..12].iter().all(|d| *d == 1.0) && divisors[20..].iter().all(|d| *d == 4.0), "{divisors:?}");
    for (i, divisor) in divisors.iter().enumerate().take(20).skip(11) {
        let part = (i as f64 - 11.0) / 9.0;
        assert!((1.0 / f64::from(*divisor) - (1.0 - part * 0.75)).abs() < 1e-6, "{i}: {divisor}");
    }
}

#[test]
fn gemmas_are_accepted() {
    let gemma2 = json!({"architectures": ["Gemma2ForCausalLM"], "attention_bias": false, "attention_dropout": 0.0, "attn_logit_softcapping": 50.0,
        "bos_token_id": 2, "cache_implementation": "hybrid", "eos_token_id": [1, 107], "final_logit_softcapping": 30.0, "head_dim": 256,
        "hidden_act": "gelu_pytorch_tanh", "hidden_activation": "gelu_pytorch_tanh", "hidden_size": 2304, "initializer_range": 0.02,
        "intermediate_size": 9216, "max_position_embeddings": 8192, "model_type": "gemma2", "num_attention_heads": 8, "num_hidden_layers": 26,
        "num_key_value_heads": 4, "pad_token_id": 0, "query_pre_attn_scalar": 256, "rms_norm_eps": 1e-06, "rope_theta": 10000.0,
        "sliding_window": 4096, "torch_dtype": "bfloat16", "transformers_version": "4.42.4", "use_cache": true, "vocab_size": 256000});
    let decoder = accepted(&gemma2);
    let windows: Vec<_> = decoder.layers[..4].iter().map(|layer| layer.window).collect();
    assert_eq!((decoder.summary().parameters, decoder.scale, windows), (2_614_341_888, 0.0625, vec![Some(4096), None, Some(4096), None]));
    assert_eq!((decoder.softcap, decoder.final_softcap, decoder.tied), (Some(50.0), Some(30.0), true));

    let gemma3 = json!({"architectures": ["Gemma3ForCausalLM"], "attention_bias": false, "attention_dropout": 0.0, "attn_logit_softcapping": null,
        "bos_token_id": 2, "cache_implementation": "hybrid", "eos_token_id": [1, 106], "final_logit_softcapping": null, "head_dim": 256,
        "hidden_activation": "gelu_pytorch_tanh", "hidden_size": 1152, "initializer_range": 0.02, "intermediate_size": 6912,
        "max_position_embeddings": 32768, "model_type": "gemma3_text", "num_attention_heads": 4, "num_hidden_layers": 26,
        "num_key_value_heads": 1, "pad_token_id": 0, "query_pre_attn_scalar": 256, "rms_norm_eps": 1e-06, "rope_local_base_freq": 10000,
        "rope_scaling": null, "rope_theta": 1000000, "sliding_window": 512, "sliding_window_pattern": 6, "torch_dtype": "bfloat16",
        "transformers_version": "4.50.0.dev0", "use_cache": true, "vocab_size": 262144});
    let decoder = accepted(&gemma3);
    assert_eq!(decoder.summary().parameters, 999_885_952);
    let layers: Vec<_> = decoder.layers[4..7].iter().map(|layer| (layer.window, layer.rope.theta)).collect();
    assert_eq!(layers, [(Some(512), 1e4), (None, 1e6), (Some(512), 1e4)]);

    let with_images = json!({"architectures": ["Gemma3ForConditionalGeneration"], "boi_token_index": 255999, "eoi_token_index": 256000,
        "eos_token_id": [1, 106], "image_token_index": 262144, "initializer_range": 0.02, "mm_tokens_per_image": 256, "model_type": "gemma3",
        "text_config": {"hidden_size": 2560, "intermediate_size": 10240, "model_type": "gemma3_text", "num_hidden_layers": 34,
            "rope_scaling": {"factor": 8.0, "rope_type": "linear"}, "sliding_window": 1024},
        "torch_dtype": "bfloat16", "transformers_version": "4.50.0.dev0",
        "vision_config": {"hidden_size": 1152, "image_size": 896, "intermediate_size": 4304, "model_type": "siglip_vision_model",
            "num_attention_heads": 16, "num_hidden_layers": 27, "patch_size": 14, "vision_use_head": false}});
    let decoder = accepted(&with_images);
    assert_eq!((decoder.summary().parameters, decoder.summary().ctx_max), (3_880_263_168, 131_072));
    assert_eq!((decoder.layers[5].rope.theta, decoder.layers[0].window, decoder.sizes.eos.as_slice()), (1e6, Some(1024), [1, 106].as_slice()));
}

#[test]
fn phis_are_accepted() {
    let factors: Vec<f64> = (0..48).map(|i| 1.0 + f64::from(i) / 7.0).collect();
    let phi35 = json!({"_name_or_path": "Phi-3.5-mini-instruct", "architectures": ["Phi3ForCausalLM"], "attention_bias": false,
        "attention_dropout": 0.0, "auto_map": {"AutoConfig": "configuration_phi3.Phi3Config", "AutoModelForCausalLM": "modeling_phi3.Phi3ForCausalLM"},
        "bos_token_id": 1, "embd_pdrop": 0.0, "eos_token_id": 32000, "hidden_act": "silu", "hidden_size": 3072, "initializer_range": 0.02,
        "intermediate_size": 8192, "max_position_embeddings": 131072, "model_type": "phi3", "num_attention_heads": 32, "num_hidden_layers": 32,
        "num_key_value_heads": 32, "original_max_position_embeddings": 4096, "pad_token_id": 32000, "resid_pdrop": 0.0, "rms_norm_eps": 1e-05,
        "rope_scaling": {"long_factor": factors, "short_factor": factors, "type": "longrope"}, "rope_theta": 10000.0, "sliding_window": 262144,
        "tie_word_embeddings": false, "torch_dtype": "bfloat16", "transformers_version": "4.43.3", "use_cache": true, "vocab_size": 32064});
    let decoder = accepted(&phi35);
    assert_eq!((decoder.summary().parameters, decoder.fused), (3_821_079_552, true));
    assert!(decoder.decided_at(4096)[0].contains("short_factor") && decoder.decided_at(4097)[0].contains("long_factor"));
}

#[test]
fn stablelm_is_accepted_and_its_largest_refused() {
    let mut stablelm = json!({"architectures": ["StableLmForCausalLM"], "bos_token_id": 100257, "eos_token_id": 100257, "hidden_act": "silu",
        "hidden_size": 2048, "initializer_range": 0.02, "intermediate_size": 5632, "layer_norm_eps": 1e-05, "max_position_embeddings": 4096,
        "model_type": "stablelm", "num_attention_heads": 32, "num_hidden_layers": 24, "num_key_value_heads": 32, "partial_rotary_factor": 0.25,
        "rope_theta": 10000, "tie_word_embeddings": false, "torch_dtype": "float16", "transformers_version": "4.38.0", "use_cache": true,
        "use_qkv_bias": true, "vocab_size": 100352});
    let decoder = accepted(&stablelm);
    assert_eq!((decoder.summary().parameters, decoder.layers[0].rope.rotary_dim), (1_644_515_328, 16));
    let own = stablelm.as_object_mut().unwrap();
    own.extend([("use_parallel_residual".to_owned(), json!(true)), ("qk_layernorm".to_owned(), json!(true))]);
    let faults: Vec<String> = describe(own, None).unwrap_err().iter().map(ToString::to_string).collect();
    assert!(faults.len() == 2 && faults[0].contains("qk_layernorm = true") && faults[1].contains("use_parallel_residual = true"), "{faults:?}");
}
