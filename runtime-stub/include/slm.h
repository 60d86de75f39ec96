/* slm.h: the runtime of a compiled language model.
 *
 * A bundle is a folder written by slmc; its code (model.so or libmodel.a) exports these functions. Everything happens
 * in the caller's process: no network, no other process, no file but those of the bundle and of the cache folder.
 *
 * Errors. Functions that can fail return 0 or a negative SLM_ERR_* code and, where `error` is not null, the same code
 * with a message that names file or argument, what was expected and what was found.
 *
 * Threads. A model may be used from any thread. Calls on one session must not overlap; one that does is refused with
 * SLM_ERR_STATE. slm_cancel is the exception: it may be called at any time. Sessions of one model share its threads
 * and take turns step by step.
 *
 * Memory. A session takes all of its memory when it opens. No call after that allocates. Strings are UTF-8.
 */
#ifndef SLM_H
#define SLM_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Raised with every change of this file that is not an addition. */
#define SLM_ABI_VERSION 1

enum {
  SLM_OK = 0,
  SLM_ERR_ARGUMENT = -1,     /* an argument is out of its range or null */
  SLM_ERR_IO = -2,           /* a file cannot be opened, read, mapped or written */
  SLM_ERR_FORMAT = -3,       /* a file is malformed or of another version */
  SLM_ERR_MISMATCH = -4,     /* files or code of two bundles are mixed */
  SLM_ERR_CORRUPT = -5,      /* a file differs from what was packed */
  SLM_ERR_CPU = -6,          /* the processor lacks an instruction set */
  SLM_ERR_MEMORY = -7,       /* the system gives no more memory */
  SLM_ERR_THREADS = -8,      /* the system gives no more threads */
  SLM_ERR_CONTEXT_FULL = -9, /* the tokens do not fit into the context */
  SLM_ERR_TOKEN = -10,       /* a token id is not below the vocabulary */
  SLM_ERR_BUFFER = -11,      /* a buffer is too small */
  SLM_ERR_NO_TEXT = -12,     /* the bundle has no tokenizer or no chat template */
  SLM_ERR_STATE = -13,       /* the call does not fit the state of session or model */
  SLM_ERR_UNVERIFIED = -14,  /* opening would hash the bundle each time, which the flags forbid */
  SLM_ERR_UTF8 = -15,        /* text is not UTF-8 */
  SLM_ERR_CHAT = -16,        /* the chat template does not take these messages */
  SLM_ERR_CANCELLED = -17,   /* slm_cancel ended an evaluation between two steps */
  SLM_ERR_DEVICE = -18       /* no GPU that runs the bundle, or it failed (lost, driver, time) */
};

typedef struct slm_model slm_model;
typedef struct slm_session slm_session;

typedef struct slm_error {
  int32_t code;
  char message[508]; /* ends with a zero byte */
} slm_error;

/* A short text for a code; lives for ever. */
const char *slm_error_message(int32_t code);

/* ---- models ---- */

enum {
  SLM_VERIFY_ALWAYS = 1,   /* hash every file even if a stamp says that it was done */
  SLM_REFUSE_UNCACHED = 2  /* fail without a cache_dir instead of hashing at each opening */
};

/* A flag of slm_open for bundles that run on a GPU: device `number` as `slmc devices` lists them, from 0 up to 254.
 * Without it the best device is taken. A bundle for a processor has device 0 only. */
#define SLM_DEVICE(number) (((uint32_t)(number) + 1u) << 16)

enum {
  SLM_DEVICE_CPU = 0,
  SLM_DEVICE_VULKAN = 1,
  SLM_DEVICE_METAL = 2
};

/* Opens the bundle in folder `dir`: checks plan, code, processor and sizes, then the hashes of all files. With a
 * `cache_dir` (may be null; should belong to the app alone) a stamp saves the hashing next time. `threads` 0 = as the
 * bundle says, else one for each core; at most 64. On a GPU the cache_dir also keeps the driver's compiled shaders. */
int32_t slm_open(const char *dir, const char *cache_dir, uint32_t flags, uint32_t threads, slm_model **model,
                 slm_error *error);

/* Ends the threads and unmaps the files. Refused while sessions are open. Null is allowed. */
int32_t slm_close(slm_model *model, slm_error *error);

enum {
  SLM_TRUST_HASHED = 0,     /* hashed now; no cache_dir */
  SLM_TRUST_STAMPED = 1,    /* hashed now; the next opening will be quick */
  SLM_TRUST_KNOWN = 2,      /* a stamp says that it was hashed before */
  SLM_TRUST_NOT_STAMPED = 3 /* hashed now; cache_dir cannot be written */
};

typedef struct slm_info_t {
  char name[64];               /* ends with a zero byte */
  uint8_t manifest_digest[32]; /* identity of the bundle */
  uint8_t code_id[32];         /* identity of its code */
  uint64_t parameters;         /* before packing */
  uint64_t weights_bytes;      /* mapped, shared between processes */
  uint64_t arena_bytes;        /* of each session */
  uint64_t kv_bytes;           /* of each session */
  uint64_t kv_token_bytes;     /* of kv_bytes, for each token */
  uint32_t context;            /* positions of a session */
  uint32_t chunk;              /* tokens of one step, at most */
  uint32_t vocab;              /* token ids are below this */
  uint32_t threads;            /* in use */
  uint32_t trust;              /* SLM_TRUST_* */
  uint32_t has_text;           /* 1: slm_tokenize and the like work */
  uint32_t has_chat;           /* 1: slm_chat_prompt works */
  uint32_t abi_version;        /* SLM_ABI_VERSION of the code */
  uint32_t device;             /* SLM_DEVICE_*: what runs the kernels */
  char device_name[128];       /* as the driver says it; ends with a zero byte */
} slm_info_t;

int32_t slm_info(const slm_model *model, slm_info_t *info, slm_error *error);

/* ---- sessions ---- */

int32_t slm_session_open(const slm_model *model, slm_session **session, slm_error *error);

/* Null is allowed. */
void slm_session_close(slm_session *session);

/* Tokens of one step from now on, at most slm_info_t.chunk; 0 = that. Results differ by rounding only. */
int32_t slm_set_chunk(slm_session *session, uint32_t chunk, slm_error *error);

/* Tokens in the cache. */
int32_t slm_position(const slm_session *session, uint32_t *position, slm_error *error);

/* Forgets all tokens. */
int32_t slm_reset(slm_session *session, slm_error *error);

/* Forgets the tokens from `position` on. A model with windowed attention can go back to 0 only. */
int32_t slm_rewind(slm_session *session, uint32_t position, slm_error *error);

/* Ends the running slm_eval or slm_generate of the session, or else its next one, before its next step. Any thread. */
void slm_cancel(const slm_session *session);

typedef struct slm_timings_t {
  uint64_t load_ns;        /* opening the model */
  uint64_t prefill_ns;     /* evaluations of several tokens */
  uint64_t prefill_tokens;
  uint64_t decode_ns;      /* evaluations of one token */
  uint64_t decode_tokens;
  uint64_t sample_ns;
  uint64_t sample_tokens;
} slm_timings_t;

/* Where the time went since the session opened. */
int32_t slm_timings(const slm_session *session, slm_timings_t *timings, slm_error *error);

/* ---- text ---- */

enum {
  SLM_SPECIAL_AS_TOKENS = 1, /* special tokens written in the text are tokens; else they are text */
  SLM_FRAME = 2              /* put the model's own begin and end tokens around the text */
};

/* Ids of a text. `*count` receives their number; with SLM_ERR_BUFFER, the number that would have been needed. */
int32_t slm_tokenize(slm_session *session, const char *text, size_t bytes, uint32_t flags, uint32_t *ids,
                     size_t capacity, size_t *count, slm_error *error);

enum {
  SLM_TEXT_SHOW_SPECIAL = 1 /* write special tokens out; else they are left out */
};

/* Text of ids, without a closing zero. `*bytes` as `*count` above. */
int32_t slm_detokenize(slm_session *session, const uint32_t *ids, size_t count, uint32_t flags, char *text,
                       size_t capacity, size_t *bytes, slm_error *error);

typedef struct slm_message {
  const char *role; /* "system", "user" or "assistant", ends with a zero byte */
  const char *content;
  size_t content_bytes;
} slm_message;

enum {
  SLM_NO_ANSWER_HEAD = 1 /* leave out what introduces the assistant's answer */
};

/* Ids of a chat in the model's own format; at most 256 messages. Special tokens written in a content are text. */
int32_t slm_chat_prompt(slm_session *session, const slm_message *messages, size_t message_count, uint32_t flags,
                        uint32_t *ids, size_t capacity, size_t *count, slm_error *error);

/* ---- tokens ---- */

enum {
  SLM_LOGITS_NONE = 0,
  SLM_LOGITS_LAST = 1, /* of the last token: vocab values, copied where `logits` is not null */
  SLM_LOGITS_ALL = 2   /* of every token: count * vocab values */
};

/* Appends tokens to the session. Refused as a whole if they do not fit into the context. `capacity` counts floats. */
int32_t slm_eval(slm_session *session, const uint32_t *ids, size_t count, uint32_t which, float *logits,
                 size_t capacity, slm_error *error);

/* Applied in this order, as llama.cpp does: repetition penalty, top-k, top-p, min-p, temperature. Ties go to the lower
 * id. */
typedef struct slm_sampling {
  float temperature;          /* 0 = the most likely token */
  uint32_t top_k;             /* 0 = all */
  float top_p;                /* above 0, up to 1; 1 = all */
  float min_p;                /* 0 or more, below 1; 0 = all */
  float repetition_penalty;   /* above 0; 1 = none */
  uint32_t repetition_window; /* recent tokens that are penalized, prompt included; 0 = none */
  uint64_t seed;              /* draws are a function of seed and position */
} slm_sampling;

/* Picks the next token from the logits of the last slm_eval (not SLM_LOGITS_NONE). It is not appended. */
int32_t slm_sample(slm_session *session, const slm_sampling *sampling, uint32_t *id, slm_error *error);

#define SLM_NO_TOKEN 4294967295u

/* Takes a token of the answer with the text it completes: whole UTF-8 characters, possibly none, not ended by a zero.
 * At the end what text is left comes with SLM_NO_TOKEN. Returns 0 to go on. It must not call back into the session,
 * slm_cancel apart. */
typedef int32_t (*slm_receiver)(void *user, uint32_t id, const char *text, size_t bytes);

enum {
  SLM_IGNORE_EOS = 1,  /* go on after tokens that end an answer */
  SLM_SHOW_SPECIAL = 2 /* write special tokens out */
};

typedef struct slm_generation {
  slm_sampling sampling;
  uint32_t max_tokens; /* 0 = what the context holds */
  uint32_t flags;
  const char *const *stops; /* up to 16 strings, 512 bytes in all, that end the answer and are not part of it */
  size_t stop_count;
  slm_receiver receiver; /* may be null */
  void *user;
} slm_generation;

enum {
  SLM_END_FAILED = 0,
  SLM_END_TEXT = 1,      /* the model ended it */
  SLM_END_LIMIT = 2,     /* max_tokens */
  SLM_END_STOP = 3,      /* a stop string */
  SLM_END_CANCELLED = 4, /* slm_cancel */
  SLM_END_RECEIVER = 5   /* the receiver returned other than 0 */
};

typedef struct slm_generated {
  uint32_t end;           /* SLM_END_* */
  uint32_t prompt_tokens;
  uint32_t reused_tokens; /* of these, already in the cache */
  uint32_t tokens;        /* of the answer, without the one that ended it */
  uint64_t prefill_ns;
  uint64_t decode_ns;
} slm_generated;

/* Answers a prompt. `ids` is the whole conversation: the session keeps what it holds of it already and forgets what
 * differs, so the next turn of a chat evaluates its new tokens only. An answer that fills the context ends with
 * SLM_ERR_CONTEXT_FULL; `generated` (may be null) is filled also then. */
int32_t slm_generate(slm_session *session, const uint32_t *ids, size_t count, const slm_generation *options,
                     slm_generated *generated, slm_error *error);

/* ---- measuring ---- */

typedef struct slm_kernel_time {
  char name[64];       /* of the shader, ends with a zero byte; empty on processors */
  uint32_t kernel;     /* its index in the plan */
  uint32_t dispatches; /* how often it ran */
  uint64_t ns;         /* of all these together */
} slm_kernel_time;

/* Appends tokens as one step (at most slm_info_t.chunk), with logits for the last, and measures every kernel. Kernels
 * run one at a time, so the sum is a little more than the step takes in slm_eval. `times` receives one entry for each
 * kernel of the plan, `*kernels` their number; with SLM_ERR_BUFFER, the number that would have been needed.
 * SLM_ERR_STATE: the device has no clock. */
int32_t slm_profile(slm_session *session, const uint32_t *ids, size_t count, slm_kernel_time *times, size_t capacity,
                    size_t *kernels, slm_error *error);

#ifdef __cplusplus
}
#endif

#endif
