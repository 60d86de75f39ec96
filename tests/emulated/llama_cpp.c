/* One step of llama.cpp on one thread between the markers of count.c, so that its instructions are counted as a bundle's are.
 *
 *   llama_cpp MODEL.gguf POSITION TOKENS
 *
 * POSITION tokens are put into the cache first; then TOKENS tokens are evaluated in one step, with logits of the last. Not built by the
 * tests: README.md says how to build it against llama.cpp, and what it gave.
 */
#include <stdio.h>
#include <stdlib.h>

#include "llama.h"

#ifdef __aarch64__
#define BEGIN __asm__ volatile("mov x27, x27" ::: "memory")
#define END __asm__ volatile("mov x28, x28" ::: "memory")
#else
#define BEGIN
#define END
#endif

int main(int argc, char **argv) {
  if (argc != 4) return 2;
  int position = atoi(argv[2]), tokens = atoi(argv[3]);
  llama_backend_init();
  struct llama_model *model = llama_model_load_from_file(argv[1], llama_model_default_params());
  if (model == NULL) return 3;
  struct llama_context_params params = llama_context_default_params();
  params.n_ctx = 1024;
  params.n_batch = params.n_ubatch = 512;
  params.n_threads = params.n_threads_batch = 1;
  struct llama_context *context = llama_init_from_model(model, params);
  if (context == NULL) return 4;
  int vocab = llama_vocab_n_tokens(llama_model_get_vocab(model));
  int total = position + tokens;
  llama_token *ids = malloc((size_t)total * sizeof *ids);
  if (ids == NULL) return 5;
  for (int i = 0; i < total; i++) ids[i] = (int)((i * 7919LL + 13) % vocab);
  /* A step of the same shape first: what is allocated and planned once is not counted. */
  if (position > 0 && llama_decode(context, llama_batch_get_one(ids, position)) != 0) return 6;
  if (llama_decode(context, llama_batch_get_one(ids + position, tokens)) != 0) return 7;
  llama_memory_seq_rm(llama_get_memory(context), 0, position, -1);
  BEGIN;
  int code = llama_decode(context, llama_batch_get_one(ids + position, tokens));
  llama_synchronize(context);
  END;
  if (code != 0) return 8;
  const float *logits = llama_get_logits_ith(context, -1);
  printf("logits %g %g\n", logits[0], logits[vocab - 1]);
  return 0;
}
