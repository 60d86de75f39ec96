/* Runs a bundle on a machine that an emulator shows, told by its standard input and answering on its standard output.
 *
 *   runner BUNDLE THREADS
 *
 * A request is u32 kind, a, b, c and then its data; numbers are little-endian on both sides.
 *   0 (evaluate): a tokens in steps of b from an empty cache, then c greedy tokens. Data: u32 ids[a].
 *     Answer: f32 logits[a][vocab], u32 ids[c].
 *   1 (tokenize): a bytes of text with flags b. Data: the text. Answer: u32 count, u32 ids[count].
 *   2 (generate): a tokens of a prompt, at most b of an answer. Data: u32 ids[a]. Answer: u32 count, u32 bytes, ids, text.
 *   3 (count): a tokens from position b on, all in one step, between the markers of count.c; with logits of the last if c is not 0.
 *     Data: u32 ids[b + a]. Answer: u32 0.
 * A failed call ends the program with status 3 and the message on standard error.
 */
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "slm.h"

/* Android's name, for its bundles on another C library. */
int *__errno(void) { return &errno; }

#define FUNCTIONS(X) \
  X(slm_open) X(slm_info) X(slm_session_open) X(slm_set_chunk) X(slm_reset) X(slm_eval) X(slm_sample) X(slm_tokenize) X(slm_generate)
#define DECLARE(name) static __typeof__(&name) p_##name;
FUNCTIONS(DECLARE)

static slm_error fault;

static void check(int32_t code) {
  if (code == SLM_OK) return;
  fprintf(stderr, "%d: %s\n", code, fault.message);
  exit(3);
}

static void *get(size_t bytes) {
  void *at = malloc(bytes ? bytes : 1);
  if (at == NULL) abort();
  return at;
}

static int take(void *into, size_t bytes) { return fread(into, 1, bytes, stdin) == bytes; }

static void give(const void *from, size_t bytes) {
  if (fwrite(from, 1, bytes, stdout) != bytes) exit(4);
}

static const slm_sampling GREEDY = {.temperature = 0, .top_p = 1, .repetition_penalty = 1};

struct answer {
  uint32_t count, bytes, ids[4096];
  char text[1 << 16];
};

static int32_t receive(void *user, uint32_t id, const char *text, size_t bytes) {
  struct answer *answer = user;
  if (answer->bytes + bytes > sizeof answer->text) return 1;
  if (id != SLM_NO_TOKEN) {
    if (answer->count == 4096) return 1;
    answer->ids[answer->count++] = id;
  }
  memcpy(answer->text + answer->bytes, text, bytes);
  answer->bytes += (uint32_t)bytes;
  return 0;
}

static void evaluate(slm_session *session, uint32_t vocab, const uint32_t *ids, uint32_t count, uint32_t chunk, uint32_t more) {
  size_t numbers = (size_t)count * vocab;
  float *logits = get(numbers * sizeof *logits);
  check(p_slm_reset(session, &fault));
  check(p_slm_set_chunk(session, chunk, &fault));
  check(p_slm_eval(session, ids, count, SLM_LOGITS_ALL, logits, numbers, &fault));
  give(logits, numbers * sizeof *logits);
  for (uint32_t i = 0; i < more; i++) {
    uint32_t id;
    check(p_slm_sample(session, &GREEDY, &id, &fault));
    give(&id, sizeof id);
    if (i + 1 < more) check(p_slm_eval(session, &id, 1, SLM_LOGITS_LAST, NULL, 0, &fault));
  }
  free(logits);
}

#ifdef __aarch64__
#define BEGIN __asm__ volatile("mov x27, x27" ::: "memory")
#define END __asm__ volatile("mov x28, x28" ::: "memory")
#else
#define BEGIN
#define END
#endif

/* One step alone: the cache before it is filled outside the markers. */
static void count(slm_session *session, const uint32_t *ids, uint32_t more, uint32_t position, uint32_t logits) {
  uint32_t done = 0, flags = logits ? SLM_LOGITS_LAST : SLM_LOGITS_NONE;
  check(p_slm_reset(session, &fault));
  check(p_slm_set_chunk(session, 0, &fault));
  if (position > 0) check(p_slm_eval(session, ids, position, SLM_LOGITS_NONE, NULL, 0, &fault));
  BEGIN;
  int32_t code = p_slm_eval(session, ids + position, more, flags, NULL, 0, &fault);
  END;
  check(code);
  give(&done, sizeof done);
}

int main(int argc, char **argv) {
  if (argc != 3) return 2;
  char path[4096];
  snprintf(path, sizeof path, "%s/model.so", argv[1]);
  void *library = dlopen(path, RTLD_NOW);
  if (library == NULL) {
    fprintf(stderr, "%s\n", dlerror());
    return 5;
  }
#define FIND(name) \
  if ((p_##name = (__typeof__(&name))dlsym(library, #name)) == NULL) return 6;
  FUNCTIONS(FIND)
  slm_model *model;
  slm_session *session;
  slm_info_t info;
  check(p_slm_open(argv[1], NULL, 0, (uint32_t)atoi(argv[2]), &model, &fault));
  check(p_slm_info(model, &info, &fault));
  check(p_slm_session_open(model, &session, &fault));
  give(&info.vocab, sizeof info.vocab);
  fflush(stdout);
  static struct answer answer;
  uint32_t request[4];
  while (take(request, sizeof request)) {
    uint32_t kind = request[0], a = request[1], b = request[2], c = request[3];
    size_t bytes = kind == 1 ? a : ((size_t)a + (kind == 3 ? b : 0)) * sizeof(uint32_t);
    void *data = get(bytes);
    if (!take(data, bytes)) return 7;
    if (kind == 0) {
      evaluate(session, info.vocab, data, a, b, c);
    } else if (kind == 3) {
      count(session, data, a, b, c);
    } else if (kind == 1) {
      size_t count;
      uint32_t *ids = get(((size_t)a + 16) * sizeof *ids);
      check(p_slm_tokenize(session, data, a, b, ids, (size_t)a + 16, &count, &fault));
      uint32_t length = (uint32_t)count;
      give(&length, sizeof length);
      give(ids, count * sizeof *ids);
      free(ids);
    } else {
      answer.count = answer.bytes = 0;
      slm_generation options = {.sampling = GREEDY, .max_tokens = b, .receiver = receive, .user = &answer};
      slm_generated generated;
      check(p_slm_generate(session, data, a, &options, &generated, &fault));
      give(&answer.count, sizeof answer.count);
      give(&answer.bytes, sizeof answer.bytes);
      give(answer.ids, answer.count * sizeof answer.ids[0]);
      give(answer.text, answer.bytes);
    }
    fflush(stdout);
    free(data);
  }
  return 0;
}
